-- P1: every transaction and every entry lies in a wallet that exists, and a transaction's own columns
-- say of that wallet what it says of itself.
WITH journals AS (
    SELECT wallet_account_id, count(*) AS entries, sum(amount) AS total, max(sequence) AS last
      FROM wallet_entries
     GROUP BY wallet_account_id
), wrong AS (
    (SELECT CASE
                WHEN w.id IS NULL THEN
                    format('transaction %s (%s of %s, %s) lies in wallet %s, which is not there',
                           t.external_id, t.type, t.amount, t.status, t.wallet_account_id)
                ELSE
                    format('transaction %s (%s of %s) says %s, %s, player %s; its wallet %s is %s, %s, player %s',
                           t.external_id, t.type, t.amount, t.wallet_type, t.currency, t.user_id,
                           w.id, w.type, w.currency, w.user_id)
            END AS violation
       FROM transactions t
       LEFT JOIN wallet_accounts w ON w.id = t.wallet_account_id
      WHERE w.id IS NULL OR w.user_id <> t.user_id OR w.currency <> t.currency OR w.type <> t.wallet_type LIMIT $1)
     UNION ALL
    (SELECT format('wallet %s is not there; its journal has %s entries up to number %s, which add up to %s',
                   j.wallet_account_id, j.entries, j.last, j.total)
       FROM journals j
       LEFT JOIN wallet_accounts w ON w.id = j.wallet_account_id
      WHERE w.id IS NULL LIMIT $1)
)
SELECT (SELECT count(*) FROM transactions) + (SELECT coalesce(sum(entries), 0)::bigint FROM journals) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

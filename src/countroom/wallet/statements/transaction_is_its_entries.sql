-- P5: all or nothing. The entries of a transaction add up to its effect if it succeeded, and to zero
-- otherwise; they lie in its own wallet, of a withdrawal also in the player's locked one, which holds
-- the money for as long as the withdrawal is pending. No entry is without a transaction.
WITH journal AS (
    SELECT transaction_id, wallet_account_id, sum(amount) AS total
      FROM wallet_entries
     GROUP BY transaction_id, wallet_account_id
), placed AS (
    SELECT j.transaction_id, j.wallet_account_id, j.total, t.id, t.external_id,
           CASE
               WHEN j.wallet_account_id = t.wallet_account_id THEN 'own'
               WHEN t.type = 'withdrawal' AND w.type = 'locked' AND w.user_id = t.user_id AND w.currency = t.currency
                   THEN 'locked'
               ELSE 'stray'
           END AS place
      FROM journal j
      LEFT JOIN transactions t ON t.id = j.transaction_id
      LEFT JOIN wallet_accounts w ON w.id = j.wallet_account_id AND w.type = 'locked'
), sums AS (
    SELECT transaction_id, sum(total) AS total, coalesce(sum(total) FILTER (WHERE place = 'locked'), 0) AS locked
      FROM placed
     GROUP BY transaction_id
), compared AS (
    SELECT t.id, t.external_id, t.type, t.amount, t.fee, t.status, t.wallet_account_id,
           coalesce(s.total, 0) AS total, coalesce(s.locked, 0) AS locked,
           CASE
               WHEN t.status <> 'success' THEN 0
               WHEN t.type IN ('bet', 'withdrawal') THEN -t.amount - t.fee
               ELSE t.amount - t.fee
           END AS effect,
           CASE WHEN t.type = 'withdrawal' AND t.status = 'pending' THEN t.amount + t.fee ELSE 0 END AS held
      FROM transactions t
      LEFT JOIN sums s ON s.transaction_id = t.id
), differing AS (
    SELECT * FROM compared WHERE total <> effect OR locked <> held LIMIT $1
), wrong AS (
    (SELECT format('%s (%s of %s, fee %s, %s): its entries add up to %s instead of %s, in locked to %s instead of %s; '
                   'wallet %s has %s',
                   d.external_id, d.type, d.amount, d.fee, d.status, d.total, d.effect, d.locked, d.held,
                   d.wallet_account_id, coalesce(lines.said, 'no entry of it')) AS violation
       FROM differing d
      CROSS JOIN LATERAL (
            SELECT string_agg(format('entry %s: %s', e.sequence, e.amount), ', ' ORDER BY e.sequence) AS said
              FROM wallet_entries e
             WHERE e.wallet_account_id = d.wallet_account_id AND e.transaction_id = d.id) lines)
     UNION ALL
    (SELECT format('wallet %s, entry %s: %s gives %s, and %s', e.wallet_account_id, e.sequence, e.amount, e.balance_after,
                   CASE WHEN p.id IS NULL THEN format('there is no transaction %s', p.transaction_id)
                        ELSE format('its transaction %s lies in another wallet', p.external_id) END)
       FROM (SELECT * FROM placed WHERE place = 'stray' LIMIT $1) p
       JOIN wallet_entries e ON e.wallet_account_id = p.wallet_account_id AND e.transaction_id = p.transaction_id
      LIMIT $1)
)
SELECT (SELECT count(*) FROM transactions) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

-- P1: every touched transaction lies in a wallet that exists, and says of it what it says of itself.
WITH placed AS (
    SELECT t.external_id, t.type, t.amount, t.status, t.wallet_account_id, t.wallet_type, t.currency, t.user_id,
           c.id AS changed_id, c.type AS type_there, c.currency AS currency_there, c.user_id AS user_there
      FROM touched_transactions t
      LEFT JOIN changed_wallets c ON c.id = t.wallet_account_id AND NOT c.is_gone
     WHERE t.external_id IS NOT NULL
), found AS (
    SELECT * FROM placed WHERE changed_id IS NOT NULL
     UNION ALL
    SELECT p.external_id, p.type, p.amount, p.status, p.wallet_account_id, p.wallet_type, p.currency, p.user_id,
           w.id, w.type, w.currency, w.user_id
      FROM (SELECT * FROM placed WHERE changed_id IS NULL) p
      LEFT JOIN LATERAL (SELECT * FROM wallet_accounts WHERE id = p.wallet_account_id OFFSET 0) w ON true
), wrong AS (
    SELECT CASE
               WHEN changed_id IS NULL THEN
                   format('transaction %s (%s of %s, %s) lies in wallet %s, which is not there',
                          external_id, type, amount, status, wallet_account_id)
               ELSE
                   format('transaction %s (%s of %s) says %s, %s, player %s; its wallet %s is %s, %s, player %s',
                          external_id, type, amount, wallet_type, currency, user_id,
                          changed_id, type_there, currency_there, user_there)
           END AS violation
      FROM found
     WHERE changed_id IS NULL OR user_there <> user_id OR currency_there <> currency OR type_there <> wallet_type
     LIMIT $1
)
SELECT (SELECT count(*) FROM touched_transactions) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

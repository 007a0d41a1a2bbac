-- P1: every touched transaction lies in a wallet that exists, and says of it what it says of itself. Most
-- have been found to lie in a changed wallet already.
WITH wrong AS (
    SELECT CASE
               WHEN w.id IS NULL THEN
                   format('transaction %s (%s of %s, %s) lies in wallet %s, which is not there',
                          t.external_id, t.type, t.amount, t.status, t.wallet_account_id)
               ELSE
                   format('transaction %s (%s of %s) says %s, %s, player %s; its wallet %s is %s, %s, player %s',
                          t.external_id, t.type, t.amount, t.wallet_type, t.currency, t.user_id,
                          w.id, w.type, w.currency, w.user_id)
           END AS violation
      FROM (SELECT * FROM touched_transactions WHERE NOT is_placed AND external_id IS NOT NULL OFFSET 0) t
      LEFT JOIN LATERAL (SELECT * FROM wallet_accounts WHERE id = t.wallet_account_id OFFSET 0) w ON true
     WHERE w.id IS NULL OR w.user_id <> t.user_id OR w.currency <> t.currency OR w.type <> t.wallet_type
     LIMIT $1
)
SELECT (SELECT count(*) FROM touched_transactions) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

-- P3: no wallet is, or ever was, below zero.
WITH wrong AS (
    (SELECT format('wallet %s holds %s', id, balance) AS violation FROM wallet_accounts WHERE balance < 0 LIMIT $1)
     UNION ALL
    (SELECT format('wallet %s, entry %s: %s after it', wallet_account_id, sequence, balance_after)
       FROM wallet_entries WHERE balance_after < 0 LIMIT $1)
)
SELECT (SELECT count(*) FROM wallet_accounts) + (SELECT count(*) FROM wallet_entries) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

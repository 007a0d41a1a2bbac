-- P3: no wallet is, or ever was, below zero.
WITH wrong AS (
    (SELECT format('wallet %s holds %s and is owed %s', id, balance, receivable) AS violation
       FROM wallet_accounts WHERE balance < 0 OR receivable < 0 LIMIT $1)
     UNION ALL
    (SELECT format('wallet %s, entry %s: %s gives %s', wallet_account_id, sequence, amount, balance_after)
       FROM wallet_entries WHERE balance_after < 0 LIMIT $1)
)
SELECT (SELECT count(*) FROM wallet_accounts) + (SELECT count(*) FROM wallet_entries) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

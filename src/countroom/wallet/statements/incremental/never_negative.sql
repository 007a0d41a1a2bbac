-- P3: no changed wallet is below zero, nor was it after any new entry.
WITH wrong AS (
    (SELECT format('wallet %s holds %s and is owed %s', id, balance, receivable) AS violation
       FROM changed_wallets WHERE balance < 0 OR receivable < 0 LIMIT $1)
     UNION ALL
    (SELECT format('wallet %s, entry %s: %s gives %s', wallet_account_id, sequence, amount, balance_after)
       FROM new_entries WHERE balance_after < 0 LIMIT $1)
)
SELECT (SELECT count(*) FROM changed_wallets) + (SELECT count(*) FROM new_entries) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

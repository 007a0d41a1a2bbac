-- P1: what a player owes a wallet is what its adjustments have put on record less what they have repaid.
WITH recorded AS (
    SELECT wallet_account_id, sum(amount) AS amount
      FROM transactions
     WHERE CASE  -- in this order: only adjustments are worth looking at their key
               WHEN type = 'adjustment' AND status = 'success' THEN external_id ~ '/(receivable|repayment)(/bonus)?$'
           END
     GROUP BY wallet_account_id
), wrong AS (
    SELECT format('wallet %s is owed %s, and its adjustments say %s',
                  coalesce(w.id, r.wallet_account_id), w.receivable, coalesce(r.amount, 0)) AS violation
      FROM wallet_accounts w
      FULL JOIN recorded r ON r.wallet_account_id = w.id
     WHERE w.receivable IS DISTINCT FROM coalesce(r.amount, 0)
     LIMIT $1
)
SELECT (SELECT count(*) FROM wallet_accounts) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

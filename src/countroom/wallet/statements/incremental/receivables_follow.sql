-- P1: what a wallet is owed has changed by its new adjustments.
WITH recorded AS (
    SELECT wallet_account_id, sum(amount) AS amount
      FROM touched_transactions
     WHERE CASE  -- in this order: only adjustments are worth looking at their key
               WHEN type = 'adjustment' AND is_new AND status = 'success'
                   THEN external_id ~ '/(receivable|repayment)(/bonus)?$'
           END
     GROUP BY wallet_account_id
), wrong AS (
    SELECT format('wallet %s is owed %s after %s, and its new adjustments say %s',
                  c.id, c.receivable, c.receivable_before, coalesce(r.amount, 0)) AS violation
      FROM changed_wallets c
      LEFT JOIN recorded r ON r.wallet_account_id = c.id
     WHERE NOT c.is_gone AND c.receivable - c.receivable_before <> coalesce(r.amount, 0)
     LIMIT $1
)
SELECT (SELECT count(*) FROM changed_wallets) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

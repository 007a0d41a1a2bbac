-- P1: over all wallets of a currency, what is there is what came in less what went out. A reversed
-- bet or win is in neither; a pending withdrawal is still there, locked.
WITH held AS (
    SELECT currency, sum(balance) AS balance FROM wallet_accounts GROUP BY currency
), flows AS (
    SELECT currency,
           sum(CASE
                   WHEN status = 'success' AND type IN ('deposit', 'win', 'bonus', 'adjustment') THEN amount - fee
                   WHEN status = 'success' AND type IN ('bet', 'withdrawal') THEN -amount - fee
                   ELSE 0
               END) AS balance
      FROM transactions
     GROUP BY currency
), wrong AS (
    SELECT format('in %s the wallets hold %s and the transactions say %s',
                  held.currency, held.balance, coalesce(flows.balance, 0)) AS violation
      FROM held
      LEFT JOIN flows USING (currency)
     WHERE held.balance <> coalesce(flows.balance, 0)
     LIMIT $1
)
SELECT (SELECT count(*) FROM transactions) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

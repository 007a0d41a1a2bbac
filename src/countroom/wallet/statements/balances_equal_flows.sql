-- P1: over all wallets of a currency, what is there is what came in less what went out. A reversed
-- bet or win is in neither; what a reversed win could not take back is still there.
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
), shortfalls AS (
    SELECT t.currency, sum(s.shortfall) AS balance
      FROM tombstones s
      JOIN transactions t ON t.external_id = s.target_external_id
     WHERE s.shortfall <> 0
     GROUP BY t.currency
), wrong AS (
    SELECT format('in %s the wallets hold %s and the transactions say %s',
                  held.currency, held.balance, coalesce(flows.balance, 0) + coalesce(shortfalls.balance, 0)) AS violation
      FROM held
      LEFT JOIN flows USING (currency)
      LEFT JOIN shortfalls USING (currency)
     WHERE held.balance <> coalesce(flows.balance, 0) + coalesce(shortfalls.balance, 0)
     LIMIT $1
)
SELECT (SELECT count(*) FROM transactions) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

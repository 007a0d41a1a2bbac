-- P1: over all wallets of a currency, what is there is what came in less what went out. A reversed
-- bet or win is in neither; a withdrawal that has not ended only moves money from main to locked.
WITH held AS (
    SELECT currency, sum(balance) AS balance FROM wallet_accounts GROUP BY currency
), flows AS (
    SELECT currency, count(*) AS transactions,
           sum(CASE
                   WHEN status <> 'success' THEN 0
                   WHEN type IN ('bet', 'withdrawal') THEN -amount - fee
                   ELSE amount - fee
               END) AS balance
      FROM transactions
     GROUP BY currency
), wrong AS (
    SELECT format('in %s the wallets hold %s and the transactions say %s',
                  currency, coalesce(held.balance, 0), coalesce(flows.balance, 0)) AS violation
      FROM held
      FULL JOIN flows USING (currency)
     WHERE coalesce(held.balance, 0) <> coalesce(flows.balance, 0)
     LIMIT $1
)
SELECT (SELECT coalesce(sum(transactions), 0)::bigint FROM flows) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

-- P5: all or nothing. The entries of a transaction add up to its effect if it succeeded, and to
-- zero otherwise; no entry is without one.
WITH journal AS (
    SELECT transaction_id, sum(amount) AS total FROM wallet_entries GROUP BY transaction_id
), compared AS (
    SELECT coalesce(t.external_id, 'entry of ' || j.transaction_id) AS name, t.status, coalesce(j.total, 0) AS total,
           CASE
               WHEN t.id IS NULL THEN NULL
               WHEN t.status = 'success' AND t.type IN ('deposit', 'win', 'bonus', 'adjustment') THEN t.amount - t.fee
               WHEN t.status = 'success' THEN -t.amount - t.fee
               ELSE 0
           END AS effect
      FROM transactions t
      FULL JOIN journal j ON j.transaction_id = t.id
), wrong AS (
    SELECT format('%s (%s): its entries add up to %s instead of %s', name, status, total, effect) AS violation
      FROM compared
     WHERE total IS DISTINCT FROM effect
     LIMIT $1
)
SELECT (SELECT count(*) FROM compared) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

-- P4: a withdrawal that has ended has one tombstone, which says how; one that is pending has none.
WITH endings AS (
    SELECT target_external_id, outcome FROM tombstones WHERE outcome IN ('settled', 'failed', 'cancelled')
), compared AS (
    SELECT coalesce(t.external_id, e.target_external_id) AS external_id, t.type, t.amount, t.status, e.outcome
      FROM (SELECT * FROM transactions WHERE type = 'withdrawal') t
      FULL JOIN endings e ON e.target_external_id = t.external_id
), wrong AS (
    SELECT CASE
               WHEN type IS NULL THEN format('%s was %s, and there is no such withdrawal', external_id, outcome)
               ELSE format('withdrawal %s of %s is %s, and its tombstone says %s',
                           external_id, amount, status, coalesce(outcome, 'nothing: there is none'))
           END AS violation
      FROM compared
     WHERE coalesce(outcome, 'pending') IS DISTINCT FROM (CASE status WHEN 'success' THEN 'settled' ELSE status::text END)
     LIMIT $1
)
SELECT (SELECT count(*) FROM compared) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

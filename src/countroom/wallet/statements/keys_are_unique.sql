-- P2: a key stands once, carries the hash of its content, and is not a reversal's key as well.
-- The count is taken from the rows, not from the index that should keep it.
WITH keys AS (
    SELECT external_id, length(request_hash) = 32 AS is_hashed FROM transactions
     UNION ALL
    SELECT external_id, length(request_hash) = 32 FROM tombstones
), wrong AS (
    SELECT CASE
               WHEN count(*) > 1 THEN format('key %s stands %s times', external_id, count(*))
               ELSE format('key %s has no hash of its content', external_id)
           END AS violation
      FROM keys
     GROUP BY external_id
    HAVING count(*) > 1 OR NOT bool_and(is_hashed)
     LIMIT $1
)
SELECT (SELECT count(*) FROM transactions) + (SELECT count(*) FROM tombstones) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

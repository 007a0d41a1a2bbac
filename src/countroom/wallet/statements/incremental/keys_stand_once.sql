-- P2: a new key carries the hash of its content, and is not a reversal's key as well. That it stands
-- once among its own kind is the unique index's word; a full proof counts.
WITH wrong AS (
    (SELECT format('key %s has no hash of its content', external_id) AS violation
       FROM touched_transactions WHERE is_new AND NOT is_hashed LIMIT $1)
     UNION ALL
    (SELECT format('key %s has no hash of its content', external_id) FROM new_tombstones WHERE NOT is_hashed LIMIT $1)
     UNION ALL
    (SELECT format('key %s is that of a %s of %s and of a reversal', t.external_id, t.type, t.amount)
       FROM touched_transactions t
      CROSS JOIN LATERAL (SELECT FROM tombstones s WHERE s.external_id = t.external_id OFFSET 0) s
      WHERE t.is_new LIMIT $1)
     UNION ALL
    (SELECT format('key %s is that of a reversal and of a %s of %s', s.external_id, t.type, t.amount)
       FROM new_tombstones s
      CROSS JOIN LATERAL (SELECT type, amount FROM transactions t WHERE t.external_id = s.external_id OFFSET 0) t LIMIT $1)
)
SELECT (SELECT count(*) FROM touched_transactions WHERE is_new) + (SELECT count(*) FROM new_tombstones) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

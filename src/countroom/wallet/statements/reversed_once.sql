-- P4: one reversal counts for a target; what was reversed is cancelled and nothing else is; what
-- was never seen before its reversal has moved nothing since.
WITH effective AS (
    SELECT target_external_id, count(*) AS stones, min(outcome) AS outcome
      FROM tombstones
     WHERE outcome <> 'repeated'
     GROUP BY target_external_id
), wrong AS (
    (SELECT format('%s has %s reversals that count', target_external_id, stones) AS violation
       FROM effective WHERE stones > 1 LIMIT $1)
     UNION ALL
    (SELECT format('%s is %s, and its tombstone says %s', t.external_id, t.status, e.outcome)
       FROM effective e
       JOIN transactions t ON t.external_id IN (e.target_external_id, e.target_external_id || '/bonus')
      WHERE t.status::text IS DISTINCT FROM CASE e.outcome
                WHEN 'reversed' THEN 'cancelled' WHEN 'settled' THEN 'success' WHEN 'unseen' THEN NULL ELSE e.outcome END
      LIMIT $1)
     UNION ALL
    (SELECT format('%s is cancelled, and no reversal was asked for', t.external_id)
       FROM transactions t
      WHERE t.status = 'cancelled' AND t.type IN ('bet', 'win')
        AND NOT EXISTS (SELECT FROM tombstones s
                         WHERE s.outcome = 'reversed'
                           AND s.target_external_id IN (t.external_id, regexp_replace(t.external_id, '/bonus$', '')))
      LIMIT $1)
)
SELECT (SELECT count(*) FROM tombstones) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

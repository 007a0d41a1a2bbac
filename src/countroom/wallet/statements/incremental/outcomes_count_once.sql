-- P4: for the new tombstones, and for every touched transaction that was cancelled or withdraws: one
-- outcome counts for a target, and the target's status is what it says.
WITH targets AS (
    SELECT target_external_id AS external_id FROM new_tombstones WHERE outcome <> 'repeated'
     UNION
    SELECT regexp_replace(external_id, '/bonus$', '')
      FROM touched_transactions
     WHERE type IN ('bet', 'win') AND status = 'cancelled' OR type = 'withdrawal'
), stones AS (
    SELECT targets.external_id, count(s.outcome) AS stones, min(s.outcome) AS outcome
      FROM targets
      LEFT JOIN LATERAL (
           SELECT outcome FROM tombstones
            WHERE target_external_id = targets.external_id AND outcome <> 'repeated' OFFSET 0) s ON true
     GROUP BY targets.external_id
), outcomes AS (
    SELECT s.external_id, s.outcome, t.external_id AS row_id, t.type, t.amount, t.status
      FROM stones s
      LEFT JOIN LATERAL (
           SELECT * FROM transactions
            WHERE external_id = ANY (ARRAY[s.external_id, s.external_id || '/bonus']) OFFSET 0) t ON true
), wrong AS (
    (SELECT format('%s has %s outcomes that count', external_id, stones) AS violation FROM stones WHERE stones > 1 LIMIT $1)
     UNION ALL
    (SELECT format('%s (%s of %s) is %s, and its tombstone says %s',
                   coalesce(row_id, external_id), coalesce(type::text, 'no transaction'), amount,
                   coalesce(status::text, 'not there'), coalesce(outcome, 'nothing: there is none'))
       FROM outcomes
      WHERE CASE
                WHEN outcome = 'unseen' THEN row_id IS NOT NULL
                WHEN outcome = 'reversed' THEN row_id IS NULL OR type NOT IN ('bet', 'win') OR status <> 'cancelled'
                WHEN outcome IS NULL AND type = 'withdrawal' THEN status <> 'pending'
                WHEN outcome IS NULL THEN status = 'cancelled'
                ELSE row_id IS NULL OR type <> 'withdrawal'
                     OR outcome <> (CASE status WHEN 'success' THEN 'settled' ELSE status::text END)
            END
      LIMIT $1)
)
SELECT (SELECT count(*) FROM targets) + (SELECT count(*) FROM new_tombstones WHERE outcome = 'repeated') AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

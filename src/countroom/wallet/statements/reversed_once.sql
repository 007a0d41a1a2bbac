-- P4: one outcome counts for a target; a bet or win that was reversed is cancelled and nothing else
-- is; what was never seen before its reversal has moved nothing since.
WITH outcomes AS (
    SELECT target_external_id, count(*) AS stones, min(outcome) AS outcome
      FROM tombstones
     WHERE outcome <> 'repeated'
     GROUP BY target_external_id
), reversals AS (
    -- A bet or win on two wallets has a second row.
    SELECT target_external_id AS external_id, target_external_id, outcome
      FROM tombstones WHERE outcome IN ('reversed', 'unseen')
     UNION ALL
    SELECT target_external_id || '/bonus', target_external_id, outcome
      FROM tombstones WHERE outcome IN ('reversed', 'unseen')
), wrong AS (
    (SELECT format('%s has %s outcomes that count', target_external_id, stones) AS violation
       FROM outcomes WHERE stones > 1 LIMIT $1)
     UNION ALL
    (SELECT format('%s (%s of %s) is %s, and its tombstone says %s', t.external_id, t.type, t.amount, t.status, r.outcome)
       FROM reversals r
       JOIN transactions t ON t.external_id = r.external_id
      WHERE r.outcome = 'unseen' OR t.status <> 'cancelled' OR t.type NOT IN ('bet', 'win') LIMIT $1)
     UNION ALL
    (SELECT format('%s was reversed, and there is no such transaction', r.target_external_id)
       FROM reversals r
       LEFT JOIN transactions t ON t.external_id = r.external_id
      WHERE r.outcome = 'reversed' AND r.external_id = r.target_external_id AND t.id IS NULL LIMIT $1)
     UNION ALL
    (SELECT format('%s (%s of %s) is cancelled, and no reversal was asked for', t.external_id, t.type, t.amount)
       FROM transactions t
       LEFT JOIN reversals r ON r.external_id = t.external_id AND r.outcome = 'reversed'
      WHERE t.status = 'cancelled' AND t.type IN ('bet', 'win') AND r.external_id IS NULL LIMIT $1)
)
SELECT (SELECT count(*) FROM tombstones) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

-- P5: the sums of the touched rounds are those of their bets and wins that stand. A round's transactions
-- are found among its player's, from the moment at which it was opened; none is older.
--
-- What that may cost is bounded. A round that was opened before $2 is left to the full proof, and of each
-- player so many of the latest transactions are read as are touched, and $3 more: what a very busy player
-- did before those is left to the full proof as well. Suspicions are looked at again over all of them.
WITH touched AS (
    SELECT DISTINCT game_round_id AS id FROM touched_transactions WHERE game_round_id IS NOT NULL
), found AS (
    SELECT touched.id AS wanted, r.*
      FROM touched
      LEFT JOIN LATERAL (
           SELECT id, user_id, opened_at, bet_amount, win_amount, bonus_bet_amount
             FROM game_rounds WHERE id = touched.id OFFSET 0) r ON true
), players AS (
    -- Five seconds: so far apart may the clocks of two machines be that write for one player.
    SELECT r.user_id, min(r.opened_at) - interval '5 seconds' AS since, coalesce(touches.count, 0) + $3 AS rows_max
      FROM found r
      LEFT JOIN (SELECT user_id, count(*) FROM touched_transactions GROUP BY user_id) touches
        ON touches.user_id = r.user_id
     WHERE r.opened_at >= $2
     GROUP BY r.user_id, touches.count
), posted AS MATERIALIZED (
    SELECT p.user_id, t.game_round_id, t.type, t.status, t.amount, t.wallet_type, t.created_at
      FROM players p
     CROSS JOIN LATERAL (
           SELECT * FROM transactions
            WHERE user_id = p.user_id AND created_at >= p.since
            ORDER BY created_at DESC, id DESC
            LIMIT p.rows_max) t
), reached AS (
    -- Where a player's rows were cut off, only what is later than the oldest of them is whole.
    SELECT p.user_id, CASE WHEN count(*) < p.rows_max THEN p.since ELSE min(posted.created_at) END AS since
      FROM players p
      LEFT JOIN posted ON posted.user_id = p.user_id
     GROUP BY p.user_id, p.rows_max, p.since
), sums AS (
    SELECT game_round_id,
           coalesce(sum(amount) FILTER (WHERE type = 'bet' AND status = 'success'), 0) AS bet,
           coalesce(sum(amount) FILTER (WHERE type = 'win' AND status = 'success'), 0) AS win,
           coalesce(sum(amount) FILTER (WHERE type = 'bet' AND status = 'success' AND wallet_type = 'bonus'), 0) AS bonus
      FROM posted
     WHERE game_round_id IS NOT NULL
     GROUP BY game_round_id
), compared AS (
    SELECT r.*, coalesce(s.bet, 0) AS bet, coalesce(s.win, 0) AS win, coalesce(s.bonus, 0) AS bonus
      FROM found r
      JOIN reached ON reached.user_id = r.user_id AND r.opened_at > reached.since
      LEFT JOIN sums s ON s.game_round_id = r.id
     WHERE r.opened_at >= $2
), suspects AS (
    SELECT * FROM compared
     WHERE bet_amount <> bet OR win_amount <> win OR bonus_bet_amount <> bonus
     LIMIT $1 * 10
), looked_at AS (
    SELECT s.id, s.bet_amount, s.win_amount, s.bonus_bet_amount, whole.*
      FROM suspects s
     CROSS JOIN LATERAL (
           SELECT coalesce(sum(amount) FILTER (WHERE type = 'bet'), 0) AS bet,
                  coalesce(sum(amount) FILTER (WHERE type = 'win'), 0) AS win,
                  coalesce(sum(amount) FILTER (WHERE type = 'bet' AND wallet_type = 'bonus'), 0) AS bonus
             FROM transactions
            WHERE user_id = s.user_id AND game_round_id = s.id AND status = 'success') whole
), wrong AS (
    (SELECT format('round %s says %s bet (%s of it bonus) and %s won; its transactions say %s (%s) and %s',
                   id, bet_amount, bonus_bet_amount, win_amount, bet, bonus, win) AS violation
       FROM looked_at WHERE bet_amount <> bet OR win_amount <> win OR bonus_bet_amount <> bonus LIMIT $1)
     UNION ALL
    (SELECT format('round %s has transactions, and is not there', wanted) FROM found WHERE id IS NULL LIMIT $1)
)
SELECT (SELECT count(*) FROM compared) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

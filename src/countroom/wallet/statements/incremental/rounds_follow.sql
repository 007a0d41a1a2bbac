-- P5: the sums of the touched rounds are those of their player's bets and wins that stand. Those of a round that
-- has just begun are all among the touched ones; those of an earlier one are found among its player's, from
-- the moment at which it was opened, before which there is none.
--
-- What that may cost is bounded. A round that was opened longer than $2 before its player was last read is left to
-- the full proof, and of each player so many of the latest transactions are read as are touched, and $3 more: what a
-- very busy player did before those is left to the full proof as well. Suspicions are looked at again over all of them.
WITH earlier AS (
    SELECT r.*
      FROM touched_rounds r
      JOIN chosen_players p ON p.user_id = r.player_id
     WHERE NOT r.is_whole AND r.opened_at >= p.read_from - $2::interval
), players AS (
    -- Five seconds: so far apart may the clocks of two machines be that write for one player.
    SELECT r.user_id, min(r.opened_at) - interval '5 seconds' AS since, touches.count + $3 AS rows_max
      FROM earlier r
      JOIN (SELECT user_id, count(*) FROM touched_transactions GROUP BY user_id) touches ON touches.user_id = r.player_id
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
    SELECT id, user_id, bet_amount, win_amount, bonus_bet_amount, bet, win, bonus FROM touched_rounds WHERE is_whole
     UNION ALL
    SELECT r.id, r.user_id, r.bet_amount, r.win_amount, r.bonus_bet_amount,
           coalesce(s.bet, 0), coalesce(s.win, 0), coalesce(s.bonus, 0)
      FROM earlier r
      JOIN reached ON reached.user_id = r.user_id AND r.opened_at > reached.since
      LEFT JOIN sums s ON s.game_round_id = r.id
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
    (SELECT format('round %s has bets of %s and wins of %s by player %s, and %s', id, bet, win, player_id,
                   CASE WHEN user_id IS NULL THEN 'is not there' ELSE format('is that of player %s', user_id) END)
       FROM touched_rounds WHERE user_id IS DISTINCT FROM player_id LIMIT $1)
)
SELECT (SELECT count(*) FROM compared) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

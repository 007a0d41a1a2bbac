-- P5: the sums of the touched sessions have grown by what the touched bets and wins have added since.
-- Suspicions are looked at again over all of the player's transactions since the session was opened.
WITH suspects AS (
    SELECT * FROM touched_sessions
     WHERE bet_amount - bet_before <> bet_added OR win_amount - win_before <> win_added
     LIMIT $1 * 10
), looked_at AS (
    SELECT s.id, s.bet_amount, s.win_amount, whole.*
      FROM suspects s
     CROSS JOIN LATERAL (
           SELECT coalesce(sum(t.amount) FILTER (WHERE t.type = 'bet'), 0) AS bet,
                  coalesce(sum(t.amount) FILTER (WHERE t.type = 'win'), 0) AS win
             FROM (SELECT * FROM transactions
                    WHERE user_id = s.user_id AND created_at >= s.opened_at - interval '5 seconds'
                      AND status = 'success' AND game_round_id IS NOT NULL OFFSET 0) t
            CROSS JOIN LATERAL (SELECT session_id FROM game_rounds WHERE id = t.game_round_id OFFSET 0) r
            WHERE r.session_id = s.id) whole
), wrong AS (
    SELECT format('session %s says %s bet and %s won; its rounds'' transactions say %s and %s',
                  id, bet_amount, win_amount, bet, win) AS violation
      FROM looked_at WHERE bet_amount <> bet OR win_amount <> win LIMIT $1
)
SELECT (SELECT count(*) FROM touched_sessions) AS compared, ARRAY(SELECT violation FROM wrong) AS violations

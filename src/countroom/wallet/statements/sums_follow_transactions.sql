-- P5: a round's sums, and a session's, are those of the bets and wins that stand.
WITH posted AS (
    SELECT game_round_id,
           sum(amount) FILTER (WHERE type = 'bet') AS bet,
           sum(amount) FILTER (WHERE type = 'win') AS win
      FROM transactions
     WHERE game_round_id IS NOT NULL AND status = 'success'
     GROUP BY game_round_id
), rounds AS (
    SELECT r.id, r.bet_amount, r.win_amount, coalesce(p.bet, 0) AS bet, coalesce(p.win, 0) AS win
      FROM game_rounds r
      LEFT JOIN posted p ON p.game_round_id = r.id
), sessions AS (
    SELECT s.id, s.bet_amount, s.win_amount, coalesce(sum(r.bet_amount), 0) AS bet, coalesce(sum(r.win_amount), 0) AS win
      FROM game_sessions s
      LEFT JOIN game_rounds r ON r.session_id = s.id
     GROUP BY s.id
), wrong AS (
    (SELECT format('round %s says %s bet and %s won; its transactions say %s and %s',
                   id, bet_amount, win_amount, bet, win) AS violation
       FROM rounds WHERE bet_amount <> bet OR win_amount <> win LIMIT $1)
     UNION ALL
    (SELECT format('session %s says %s bet and %s won; its rounds say %s and %s', id, bet_amount, win_amount, bet, win)
       FROM sessions WHERE bet_amount <> bet OR win_amount <> win LIMIT $1)
)
SELECT (SELECT count(*) FROM rounds) + (SELECT count(*) FROM sessions) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

-- P5: a round's sums, and a session's, are those of its player's bets and wins that stand.
WITH posted AS (
    SELECT game_round_id, user_id,
           coalesce(sum(amount) FILTER (WHERE type = 'bet' AND status = 'success'), 0) AS bet,
           coalesce(sum(amount) FILTER (WHERE type = 'win' AND status = 'success'), 0) AS win,
           coalesce(sum(amount) FILTER (WHERE type = 'bet' AND status = 'success' AND wallet_type = 'bonus'), 0) AS bonus
      FROM transactions
     WHERE game_round_id IS NOT NULL
     GROUP BY game_round_id, user_id
), rounds AS (
    SELECT coalesce(r.id, p.game_round_id) AS id, r.bet_amount, r.win_amount, r.bonus_bet_amount,
           coalesce(p.bet, 0) AS bet, coalesce(p.win, 0) AS win, coalesce(p.bonus, 0) AS bonus
      FROM game_rounds r
      FULL JOIN posted p ON p.game_round_id = r.id AND p.user_id = r.user_id
), by_session AS (
    SELECT session_id, sum(bet_amount) AS bet, sum(win_amount) AS win FROM game_rounds GROUP BY session_id
), sessions AS (
    SELECT s.id, s.bet_amount, s.win_amount, coalesce(b.bet, 0) AS bet, coalesce(b.win, 0) AS win
      FROM game_sessions s
      LEFT JOIN by_session b ON b.session_id = s.id
), wrong AS (
    (SELECT format('round %s says %s bet (%s of it bonus) and %s won; its transactions say %s (%s) and %s',
                   id, bet_amount, bonus_bet_amount, win_amount, bet, bonus, win) AS violation
       FROM rounds
      WHERE bet_amount IS DISTINCT FROM bet OR win_amount IS DISTINCT FROM win
         OR bonus_bet_amount IS DISTINCT FROM bonus
      LIMIT $1)
     UNION ALL
    (SELECT format('session %s says %s bet and %s won; its rounds say %s and %s', id, bet_amount, win_amount, bet, win)
       FROM sessions WHERE bet_amount <> bet OR win_amount <> win LIMIT $1)
)
SELECT (SELECT count(*) FROM game_rounds) + (SELECT count(*) FROM game_sessions) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations

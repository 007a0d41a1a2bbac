-- The sessions of the touched rounds, and what these have added to them.
INSERT INTO touched_sessions
SELECT s.id, s.user_id, s.opened_at, s.bet_amount, s.win_amount, coalesce(m.bet_amount, 0), coalesce(m.win_amount, 0),
       a.bet, a.win
  FROM (SELECT session_id, sum(bet_added) AS bet, sum(win_added) AS win
          FROM touched_rounds
         WHERE session_id IS NOT NULL
         GROUP BY session_id) a
 CROSS JOIN LATERAL (SELECT * FROM game_sessions WHERE id = a.session_id OFFSET 0) s
  LEFT JOIN LATERAL (SELECT * FROM book_session_marks WHERE session_id = s.id OFFSET 0) m ON true

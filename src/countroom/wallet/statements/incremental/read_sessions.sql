-- The sessions of the touched bets and wins, and what these have added to them.
INSERT INTO touched_sessions
SELECT s.id, s.user_id, s.opened_at, s.bet_amount, s.win_amount, coalesce(m.bet_amount, 0), coalesce(m.win_amount, 0),
       a.bet, a.win
  FROM (SELECT r.session_id, coalesce(sum(t.added) FILTER (WHERE t.type = 'bet'), 0) AS bet,
               coalesce(sum(t.added) FILTER (WHERE t.type = 'win'), 0) AS win
          FROM (SELECT game_round_id, type,
                       CASE
                           WHEN is_new AND status = 'success' THEN amount
                           WHEN NOT is_new AND status <> 'success' THEN -amount
                           ELSE 0
                       END AS added
                  FROM touched_transactions
                 WHERE type IN ('bet', 'win') AND game_round_id IS NOT NULL) t
         CROSS JOIN LATERAL (SELECT session_id FROM game_rounds WHERE id = t.game_round_id OFFSET 0) r
         GROUP BY r.session_id) a
 CROSS JOIN LATERAL (SELECT * FROM game_sessions WHERE id = a.session_id OFFSET 0) s
  LEFT JOIN LATERAL (SELECT * FROM book_session_marks WHERE session_id = s.id OFFSET 0) m ON true

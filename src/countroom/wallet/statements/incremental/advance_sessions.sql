INSERT INTO book_session_marks (session_id, bet_amount, win_amount)
SELECT id, bet_amount, win_amount FROM touched_sessions
    ON CONFLICT (session_id) DO UPDATE SET bet_amount = excluded.bet_amount, win_amount = excluded.win_amount

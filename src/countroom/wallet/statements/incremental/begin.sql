-- Marks from nothing: everything has just been read. A wallet or session in which nothing has happened needs none.
DELETE FROM book_horizon;
DELETE FROM book_marks;
DELETE FROM book_session_marks;
DELETE FROM book_player_marks;
INSERT INTO book_marks (wallet_account_id, sequence, balance, receivable)
SELECT id, sequence, balance, receivable FROM wallet_accounts WHERE sequence <> 0 OR balance <> 0 OR receivable <> 0;
INSERT INTO book_session_marks (session_id, bet_amount, win_amount)
SELECT id, bet_amount, win_amount FROM game_sessions WHERE bet_amount <> 0 OR win_amount <> 0;

-- The rounds of the touched bets and wins. Most have just begun, and lie in one place of the primary key: $1
-- is the least id of the last minutes. A round carries the moment of the pass that opened it, and so do that
-- pass's bets and wins. What is touched and not new had been standing, and has been reversed.
WITH played AS (
    SELECT game_round_id, user_id, min(created_at) FILTER (WHERE is_new) AS first_at,
           sum(CASE WHEN type = 'bet' AND status = 'success' THEN amount ELSE 0 END) AS bet,
           sum(CASE WHEN type = 'win' AND status = 'success' THEN amount ELSE 0 END) AS win,
           coalesce(sum(amount) FILTER (WHERE wallet_type = 'bonus' AND type = 'bet' AND status = 'success'), 0) AS bonus,
           coalesce(sum(amount) FILTER (WHERE NOT is_new AND type = 'bet'), 0) AS old_bet,
           coalesce(sum(amount) FILTER (WHERE NOT is_new AND type = 'win'), 0) AS old_win
      FROM touched_transactions
     WHERE game_round_id IS NOT NULL
     GROUP BY game_round_id, user_id
), recent AS (
    SELECT id, user_id, session_id, opened_at, bet_amount, win_amount, bonus_bet_amount
      FROM game_rounds
     WHERE id >= $1
    OFFSET 0
), found AS (
    SELECT p.*, r.id, r.user_id AS round_user_id, r.session_id, r.opened_at, r.bet_amount, r.win_amount, r.bonus_bet_amount
      FROM played p
      LEFT JOIN recent r ON r.id = p.game_round_id
)
INSERT INTO touched_rounds
SELECT f.game_round_id, f.user_id, coalesce(f.first_at = coalesce(f.opened_at, r.opened_at), false), f.bet, f.win,
       f.bonus, f.bet - f.old_bet, f.win - f.old_win, coalesce(f.round_user_id, r.user_id),
       coalesce(f.session_id, r.session_id), coalesce(f.opened_at, r.opened_at), coalesce(f.bet_amount, r.bet_amount),
       coalesce(f.win_amount, r.win_amount), coalesce(f.bonus_bet_amount, r.bonus_bet_amount)
  FROM found f
  LEFT JOIN LATERAL (SELECT * FROM game_rounds WHERE f.id IS NULL AND id = f.game_round_id OFFSET 0) r ON true

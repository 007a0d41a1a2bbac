-- The rounds of the touched bets and wins. Most have just begun, and lie in one place of the primary key: $1
-- is the least id of the last minutes. A round carries the moment of the pass that opened it, and so do that
-- pass's bets and wins.
WITH played AS (
    SELECT game_round_id, user_id, min(created_at) FILTER (WHERE is_new) AS first_at,
           coalesce(sum(amount) FILTER (WHERE type = 'bet' AND status = 'success'), 0) AS bet,
           coalesce(sum(amount) FILTER (WHERE type = 'win' AND status = 'success'), 0) AS win,
           coalesce(sum(amount) FILTER (WHERE type = 'bet' AND status = 'success' AND wallet_type = 'bonus'), 0) AS bonus,
           coalesce(sum(amount) FILTER (WHERE type = 'bet' AND NOT is_new AND status <> 'success'), 0) AS bet_back,
           coalesce(sum(amount) FILTER (WHERE type = 'win' AND NOT is_new AND status <> 'success'), 0) AS win_back,
           coalesce(sum(amount) FILTER (WHERE type = 'bet' AND is_new AND status = 'success'), 0) AS new_bet,
           coalesce(sum(amount) FILTER (WHERE type = 'win' AND is_new AND status = 'success'), 0) AS new_win
      FROM touched_transactions
     WHERE game_round_id IS NOT NULL
     GROUP BY game_round_id, user_id
), recent AS (
    SELECT * FROM game_rounds WHERE id >= $1 OFFSET 0
), found AS (
    SELECT p.*, r.id, r.user_id AS round_user_id, r.session_id, r.opened_at, r.bet_amount, r.win_amount, r.bonus_bet_amount
      FROM played p
      LEFT JOIN recent r ON r.id = p.game_round_id
)
INSERT INTO touched_rounds
SELECT f.game_round_id, f.user_id, coalesce(f.first_at = coalesce(f.opened_at, r.opened_at), false), f.bet, f.win,
       f.bonus, f.new_bet - f.bet_back, f.new_win - f.win_back, coalesce(f.round_user_id, r.user_id),
       coalesce(f.session_id, r.session_id), coalesce(f.opened_at, r.opened_at), coalesce(f.bet_amount, r.bet_amount),
       coalesce(f.win_amount, r.win_amount), coalesce(f.bonus_bet_amount, r.bonus_bet_amount)
  FROM found f
  LEFT JOIN LATERAL (SELECT * FROM game_rounds WHERE f.id IS NULL AND id = f.game_round_id OFFSET 0) r ON true

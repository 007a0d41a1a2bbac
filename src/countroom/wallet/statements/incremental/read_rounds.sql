-- The rounds of the touched bets and wins. A round carries the moment of the pass that opened it, and so do that
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
)
INSERT INTO touched_rounds
SELECT p.game_round_id, p.user_id, coalesce(p.first_at = r.opened_at, false), p.bet, p.win,
       p.bonus, p.bet - p.old_bet, p.win - p.old_win, r.user_id, r.session_id, r.opened_at, r.bet_amount, r.win_amount,
       r.bonus_bet_amount
  FROM played p
  LEFT JOIN LATERAL (SELECT * FROM game_rounds WHERE id = p.game_round_id OFFSET 0) r ON true

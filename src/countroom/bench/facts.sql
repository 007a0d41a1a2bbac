-- {rows} bets in one transaction, as the wallet writes them: of all players in turn, with a round each.
INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, metadata, processed_at, created_at,
                          user_id, wallet_type, currency, provider, game_id, game_round_id, request_hash, answer_balance)
SELECT gen_random_uuid(), p.wallet_id, 'bench:{run}-' || number, 0.10, 'bet', 'success',
       jsonb_build_object('round', '{run}-' || number), now(), now(), p.user_id, 'main', 'EUR', 'bench', p.game_id,
       gen_random_uuid(), sha256('x'), 1000
  FROM generate_series(1, {rows}) AS number
  JOIN bench_players p ON p.n = number % {players} + 1;

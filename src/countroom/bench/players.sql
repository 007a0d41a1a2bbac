-- So many players with a million each, journalled, and an open session of the one game.
CREATE TABLE bench_players AS
SELECT n::integer, gen_random_uuid() AS user_id, gen_random_uuid() AS wallet_id, gen_random_uuid() AS session_id,
       gen_random_uuid() AS deposit_id, (SELECT id FROM games) AS game_id
  FROM generate_series(1, {players}) AS n;
CREATE UNIQUE INDEX ON bench_players (n);
INSERT INTO users (id, email) SELECT user_id, n || '@bench.test' FROM bench_players;
INSERT INTO wallet_accounts (id, user_id, currency, type, balance, sequence)
SELECT wallet_id, user_id, 'EUR', 'main'::wallet_type, 1000000, 1 FROM bench_players
 UNION ALL
SELECT gen_random_uuid(), user_id, 'EUR', type::wallet_type, 0, 0 FROM bench_players, unnest(ARRAY['bonus', 'locked']) AS type;
INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, user_id, wallet_type, currency, request_hash)
SELECT deposit_id, wallet_id, 'bench:' || n, 1000000, 'deposit', 'success', user_id, 'main', 'EUR', sha256('x') FROM bench_players;
INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after, created_at)
SELECT p.wallet_id, 1, t.id, 1000000, 1000000, t.created_at FROM bench_players p JOIN transactions t ON t.id = p.deposit_id;
INSERT INTO game_sessions (id, user_id, game_id, currency) SELECT session_id, user_id, game_id, 'EUR' FROM bench_players;

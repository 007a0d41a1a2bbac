-- The yardstick: the five writes of a bet, row by row in one transaction, as one would write them.
\set n random(1, :players)
BEGIN;
UPDATE wallet_accounts SET balance = balance - 1, sequence = sequence + 1, version = version + 1, updated_at = now()
 WHERE id = (SELECT wallet_id FROM bench_players WHERE n = :n) RETURNING balance;
INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, metadata, processed_at, user_id,
                          wallet_type, currency, provider, game_id, request_hash, answer_balance)
SELECT uuidv7(), wallet_id, 'pgbench:' || gen_random_uuid(), 1, 'bet', 'success', '{"round": "r-123456"}', now(), user_id,
       'main', 'EUR', 'pgbench', game_id, sha256('x'), 1
  FROM bench_players WHERE n = :n ON CONFLICT DO NOTHING;
INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after)
SELECT id, sequence, uuidv7(), -1, balance FROM wallet_accounts
 WHERE id = (SELECT wallet_id FROM bench_players WHERE n = :n);
INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount)
SELECT uuidv7(), session_id, user_id, game_id, 'pgbench', gen_random_uuid()::text, 'EUR', 1
  FROM bench_players WHERE n = :n;
UPDATE game_sessions SET bet_amount = bet_amount + 1
 WHERE id = (SELECT session_id FROM bench_players WHERE n = :n);
COMMIT;

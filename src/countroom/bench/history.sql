-- {bets} bets of ten cents for each player, one every ten seconds, all players in turn. The ids are UUIDv7 made from
-- a bet's time and its player's number, so that the statements agree without asking each other.
INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, metadata, processed_at, created_at,
                          user_id, wallet_type, currency, provider, game_id, game_round_id, request_hash, answer_balance)
SELECT (t.hex || '70008000' || lpad(to_hex(p.n), 12, '0'))::uuid, p.wallet_id, 'bench:old-' || k || '-' || p.n, 0.10,
       'bet', 'success', '{"round": "old"}', t.moment, t.moment, p.user_id, 'main', 'EUR', 'bench', p.game_id,
       (t.hex || '70009000' || lpad(to_hex(p.n), 12, '0'))::uuid, sha256('x'), 1000000 - 0.10 * k
  FROM generate_series(1, {bets}) AS k
 CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01Z' + k * interval '10 s' AS moment,
                            lpad(to_hex(1767225600000 + k * 10000::bigint), 12, '0') AS hex) t
 CROSS JOIN LATERAL (SELECT * FROM bench_players WHERE k > 0 OFFSET 0) p;
INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, status, opened_at,
                         closed_at)
SELECT (t.hex || '70009000' || lpad(to_hex(p.n), 12, '0'))::uuid, p.session_id, p.user_id, p.game_id, 'bench',
       'old-' || k || '-' || p.n, 'EUR', 0.10, 'settled', t.moment, t.moment
  FROM generate_series(1, {bets}) AS k
 CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01Z' + k * interval '10 s' AS moment,
                            lpad(to_hex(1767225600000 + k * 10000::bigint), 12, '0') AS hex) t
 CROSS JOIN LATERAL (SELECT * FROM bench_players WHERE k > 0 OFFSET 0) p;
INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after, created_at)
SELECT p.wallet_id, 1 + k, (t.hex || '70008000' || lpad(to_hex(p.n), 12, '0'))::uuid, -0.10, 1000000 - 0.10 * k, t.moment
  FROM generate_series(1, {bets}) AS k
 CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01Z' + k * interval '10 s' AS moment,
                            lpad(to_hex(1767225600000 + k * 10000::bigint), 12, '0') AS hex) t
 CROSS JOIN LATERAL (SELECT * FROM bench_players WHERE k > 0 OFFSET 0) p;
UPDATE wallet_accounts SET balance = 1000000 - 0.10 * {bets}, sequence = 1 + {bets} WHERE type = 'main';
UPDATE game_sessions SET bet_amount = 0.10 * {bets};

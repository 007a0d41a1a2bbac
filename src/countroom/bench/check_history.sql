-- Rounds {first} to {last} of an earlier time: players in turn, each round a bet of 1.00 that won 0.50,
-- journalled. Ids and keys grow, as real ones do.
WITH played AS (
    SELECT number, number / {players} AS turn, p.user_id, p.wallet_id, p.session_id, p.game_id,
           ('01800000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid AS round_id,
           timestamptz '2025-01-01' + number * interval '10 milliseconds' AS moment
      FROM generate_series({first}::bigint, {last}::bigint) AS number
      JOIN bench_players p ON p.n = number % {players} + 1
), lines AS (
    SELECT played.*, type, amount,
           ('01800000-0000-7000-9000-' || lpad(to_hex(2 * number + place), 12, '0'))::uuid AS id,
           2 + 2 * turn + place AS sequence,
           CASE type WHEN 'bet' THEN -amount ELSE amount END AS signed,
           1000000 - 0.5 * turn - CASE type WHEN 'bet' THEN 1 ELSE 0.5 END AS balance_after
      FROM played
     CROSS JOIN (VALUES (0, 'bet', 1.00), (1, 'win', 0.50)) AS halves (place, type, amount)
), rounds AS (
    INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, win_amount,
                             status, opened_at, closed_at)
    SELECT round_id, session_id, user_id, game_id, 'bench', 'past-' || number, 'EUR', 1, 0.5, 'settled', moment, moment
      FROM played ORDER BY number
), journal AS (
    INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after, created_at)
    SELECT wallet_id, sequence, id, signed, balance_after, moment FROM lines ORDER BY id
)
INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, metadata, processed_at, created_at,
                          user_id, wallet_type, currency, provider, game_id, game_round_id, request_hash, answer_balance)
SELECT id, wallet_id, 'bench:past-' || number || '-' || type, amount, type::transaction_type, 'success',
       jsonb_build_object('round', 'past-' || number), moment, moment, user_id, 'main', 'EUR', 'bench', game_id, round_id,
       sha256(id::text::bytea), balance_after
  FROM lines
 ORDER BY id

-- Bets number $1 up to before $2, each of 1.00 by the next of $3 players, 250 in a moment, from 2020 on.
INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after, created_at)
SELECT p.wallet_id, bet / $3::integer + 2, gen_random_uuid(), -1, 1000000 - (bet / $3::integer + 1),
       timestamptz '2020-01-01' + (bet / 250 + 1) * interval '10 milliseconds'
  FROM generate_series($1::integer, $2::integer - 1) AS bet
  JOIN bench_players p ON p.n = bet % $3::integer + 1
 ORDER BY bet

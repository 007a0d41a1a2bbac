-- Every player whose wallets are not as their marks say, who was read longest ago first, with the number of new
-- entries; wallets that are gone are in a row without a player. Both tables are read from end to end: they have a
-- row a wallet and not a row a bet, and an index on what changes would cost every bet.
SELECT n.user_id, n.entries, n.gone
  FROM (SELECT w.user_id, sum(greatest(w.sequence - coalesce(m.sequence, 0), 0))::bigint AS entries,
               array_agg(m.wallet_account_id) FILTER (WHERE w.id IS NULL) AS gone
          FROM wallet_accounts w
          FULL JOIN book_marks m ON m.wallet_account_id = w.id
         WHERE w.id IS NULL
            OR w.sequence <> coalesce(m.sequence, 0)
            OR w.balance <> coalesce(m.balance, 0)
            OR w.receivable <> coalesce(m.receivable, 0)
         GROUP BY w.user_id) n
  LEFT JOIN book_player_marks m ON m.user_id = n.user_id
 ORDER BY n.user_id IS NOT NULL, pg_snapshot_xmax(coalesce(m.snapshot, (SELECT begun_snapshot FROM book_horizon)))

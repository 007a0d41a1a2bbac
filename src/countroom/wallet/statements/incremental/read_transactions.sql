-- The chosen players' transactions since they were last read that have new entries, and those that are new and have
-- none: free rounds, wins of nothing, and whatever should have had one.
--
-- One with entries is new when the first of them, which carries its own moment, is among the new ones. One without
-- is new when the snapshot did not show it by which its player was last read. (A row's xmin has 32 of its
-- 64 bits; the rest is that of the newest id. If that is 2^32 away, the row may be taken for new: it
-- will look suspicious, and be looked at again.)
WITH newest AS (
    SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS id
), moved AS (
    SELECT transaction_id, min(created_at) AS first_at, sum(amount) AS total,
           coalesce(sum(amount) FILTER (WHERE is_locked), 0) AS locked
      FROM new_entries
     GROUP BY transaction_id
)
INSERT INTO touched_transactions
SELECT t.id, m.first_at IS NULL OR m.first_at = t.created_at, coalesce(m.total, 0), coalesce(m.locked, 0),
       t.external_id, t.user_id, t.wallet_account_id, t.wallet_type, t.currency, t.type, t.status, t.amount, t.fee,
       t.game_round_id, t.is_hashed,
       c.id IS NOT NULL AND c.user_id = t.user_id AND c.currency = t.currency AND c.type = t.wallet_type, t.created_at
  FROM (SELECT p.snapshot, t.*
          FROM chosen_players p
         CROSS JOIN LATERAL (
               SELECT id, external_id, user_id, wallet_account_id, wallet_type, currency, type, status, amount, fee,
                      game_round_id, length(request_hash) = 32 AS is_hashed, created_at, xmin AS written_by
                 FROM transactions
                WHERE user_id = p.user_id AND created_at >= p.read_from
               OFFSET 0) t
        OFFSET 0) t  -- what is joined to them is joined to all of them at once
  LEFT JOIN moved m ON m.transaction_id = t.id
  LEFT JOIN changed_wallets c ON c.id = t.wallet_account_id
 WHERE m.transaction_id IS NOT NULL
    OR (SELECT NOT pg_visible_in_snapshot((id - ((id - t.written_by::text::bigint) & 4294967295))::text::xid8, t.snapshot)
          FROM newest)

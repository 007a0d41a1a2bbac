-- The transactions of the last minutes that have new entries, and those that are new and have none: free
-- rounds, and whatever should have had one. Ids are UUIDv7, so the primary key has the last minutes in one
-- place: $1 is their moment, $2 the least id of that moment.
--
-- One with entries is new when the first of them, which carries its own moment, is among the new ones. One
-- without is new when the last proof's snapshot did not show it. (A row's xmin has 32 of its 64 bits; the
-- rest is that of the newest id, which is not 2^32 away from a row of the last minutes.)
WITH last AS (
    SELECT snapshot, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS newest FROM book_horizon
), moved AS (
    SELECT transaction_id, min(created_at) AS first_at, sum(amount) AS total,
           coalesce(sum(amount) FILTER (WHERE is_locked), 0) AS locked
      FROM new_entries
     GROUP BY transaction_id
), recent AS (
    SELECT id, external_id, user_id, wallet_account_id, wallet_type, currency, type, status, amount, fee, game_round_id,
           length(request_hash) = 32 AS is_hashed, created_at, xmin AS written_by
      FROM transactions
     WHERE id >= $2 AND created_at >= $1
    OFFSET 0
)
INSERT INTO touched_transactions
SELECT t.id, m.first_at IS NULL OR m.first_at = t.created_at, coalesce(m.total, 0), coalesce(m.locked, 0),
       t.external_id, t.user_id, t.wallet_account_id, t.wallet_type, t.currency, t.type, t.status, t.amount, t.fee,
       t.game_round_id, t.is_hashed,
       c.id IS NOT NULL AND c.user_id = t.user_id AND c.currency = t.currency AND c.type = t.wallet_type, t.created_at
  FROM recent t
  LEFT JOIN moved m ON m.transaction_id = t.id
  LEFT JOIN changed_wallets c ON c.id = t.wallet_account_id
 WHERE m.transaction_id IS NOT NULL
    OR (age(t.written_by) <= (SELECT age(pg_snapshot_xmin(snapshot)::xid) FROM last)  -- the others, at less cost
        AND (SELECT NOT pg_visible_in_snapshot(
                        (newest - ((newest - t.written_by::text::bigint) & 4294967295))::text::xid8, snapshot)
               FROM last))

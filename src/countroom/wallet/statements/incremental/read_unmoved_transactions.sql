-- New transactions without an entry: free rounds, and whatever should have had one. Ids are UUIDv7, so
-- the primary key finds the last minutes: $1 is their moment, $2 the least id of that moment.
-- Exactly those that the last proof's snapshot did not show are taken. (A row's xmin has 32 of its 64 bits;
-- the rest is that of the newest id, which cannot be 2^32 away from a row of the last minutes.)
WITH last AS (
    SELECT snapshot, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS newest FROM book_horizon
)
INSERT INTO touched_transactions
SELECT t.id, true, 0, 0, t.external_id, t.user_id, t.wallet_account_id, t.wallet_type, t.currency, t.type, t.status,
       t.amount, t.fee, t.game_round_id, length(t.request_hash) = 32
  FROM transactions t
 CROSS JOIN last
 WHERE t.id >= $2 AND t.created_at >= $1
   AND NOT pg_visible_in_snapshot(
           (last.newest - ((last.newest - t.xmin::text::bigint) & 4294967295))::text::xid8, last.snapshot)
   AND NOT EXISTS (SELECT FROM new_entries e WHERE e.transaction_id = t.id)

-- What is new in the books is proved player by player, as many as the time allows; the others wait. So up to
-- where a player has been read is kept of each.

ALTER TABLE proofs
    ADD COLUMN waiting bigint NOT NULL DEFAULT 0;           -- entries that were new and are left to the next proof

-- So far a player without a mark of his own has been read: what had been committed when the marks were set.
ALTER TABLE book_horizon RENAME COLUMN snapshot TO begun_snapshot;
ALTER TABLE book_horizon
    ADD COLUMN begun_from timestamptz,
    ADD COLUMN seen_id    uuid;                             -- transactions are walked by their ids, up to this one
UPDATE book_horizon
   SET begun_from = read_from,
       seen_id = rpad(lpad(to_hex((extract(epoch FROM read_from) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
ALTER TABLE book_horizon
    ALTER COLUMN begun_from SET NOT NULL,
    ALTER COLUMN seen_id SET NOT NULL;

CREATE TABLE book_player_marks (  -- added: what had been committed when a player's books were last read
    user_id   uuid PRIMARY KEY,
    snapshot  pg_snapshot NOT NULL,
    -- What of the player that snapshot does not show carries a later moment than this.
    read_from timestamptz NOT NULL
) WITH (fillfactor = 70);

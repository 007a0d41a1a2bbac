-- The journal sealed: hashes that chain it, so that a changed past shows (docs/seals.md).

-- Ranges of time of the journal can be read without walking through it. BRIN keeps one line for
-- about ten thousand entries; an insert into a range that has no line yet costs nothing, and a
-- range gets its line when the next one is begun.
CREATE INDEX wallet_entries_by_time ON wallet_entries USING brin (created_at) WITH (autosummarize = on);

-- An entry written by hand is dated when it is written, like those of the wallet, and not when its
-- transaction was opened: a transaction may be opened long before, and its entry would come behind a seal.
ALTER TABLE wallet_entries ALTER COLUMN created_at SET DEFAULT clock_timestamp();

CREATE TABLE seals (
    number    bigint PRIMARY KEY CONSTRAINT seals_count_from_one CHECK (number > 0),
    starts_at timestamptz NOT NULL,                         -- inclusive; where the seal before it ends
    ends_at   timestamptz NOT NULL,                         -- exclusive
    entries   bigint NOT NULL CONSTRAINT seals_hold_something CHECK (entries > 0),
    root      bytea NOT NULL CONSTRAINT seals_root_is_sha_256 CHECK (length(root) = 32),
    hash      bytea NOT NULL CONSTRAINT seals_hash_is_sha_256 CHECK (length(hash) = 32),
    sealed_at timestamptz NOT NULL DEFAULT now(),           -- for people; not part of the hash
    CONSTRAINT seals_cover_some_time CHECK (ends_at > starts_at)
);

CREATE TABLE seal_blocks (
    seal_number             bigint NOT NULL CONSTRAINT seal_blocks_seal_exists REFERENCES seals,
    number                  integer NOT NULL,               -- 0, 1, 2 … within the seal
    first_created_at        timestamptz NOT NULL,           -- where it begins: the key of its first entry
    first_wallet_account_id uuid NOT NULL,
    first_sequence          bigint NOT NULL,
    entries                 integer NOT NULL
                            CONSTRAINT seal_blocks_are_small CHECK (entries BETWEEN 1 AND 256),
    hash                    bytea NOT NULL CONSTRAINT seal_blocks_hash_is_sha_256 CHECK (length(hash) = 32),
    CONSTRAINT seal_blocks_in_order PRIMARY KEY (seal_number, number)
);

CREATE TRIGGER seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER seal_blocks_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seal_blocks
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

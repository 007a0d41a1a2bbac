-- A provider's daily report compared with our books: what was compared, and what was otherwise (docs/reconciliation.md).

CREATE TABLE reconciliations (  -- added: a report as it was compared; comparing again is another row
    id               uuid PRIMARY KEY,
    provider_id      uuid NOT NULL CONSTRAINT reconciliations_provider_exists REFERENCES game_providers,
    day              date NOT NULL,                         -- the report's, as it counts in time_zone
    time_zone        text NOT NULL,
    file_name        text NOT NULL CONSTRAINT reconciliations_file_name_is_short CHECK (length(file_name) <= 200),
    file_hash        bytea NOT NULL CONSTRAINT reconciliations_file_hash_is_sha_256 CHECK (length(file_hash) = 32),
    staff_id         uuid CONSTRAINT reconciliations_staff_exists REFERENCES staff,   -- null: the command line
    line_count       bigint NOT NULL,
    matched_count    bigint NOT NULL,                       -- lines that are here as they say, to the cent
    difference_count bigint NOT NULL,                       -- all of them; the rows below may be the first ones only
    kinds            jsonb NOT NULL,                        -- how many differences of each kind
    sums             jsonb NOT NULL,                        -- bets and wins by currency, theirs and ours
    created_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reconciliations_count_every_line CHECK (matched_count <= line_count)
);
CREATE INDEX reconciliations_latest ON reconciliations (provider_id, id DESC);

CREATE TABLE reconciliation_differences (  -- added: one row for each transaction that is not the same on both sides
    reconciliation_id uuid NOT NULL CONSTRAINT reconciliation_differences_reconciliation_exists REFERENCES reconciliations,
    number            integer NOT NULL,                     -- 1, 2, 3 … the gravest kind first
    kinds             text[] NOT NULL CONSTRAINT reconciliation_differences_have_a_kind CHECK (cardinality(kinds) > 0),
    transaction_id    text NOT NULL,                        -- the provider's
    line              bigint,                               -- of the file; null: it is not in it
    -- What the report says.
    their_type        text,
    their_status      text,
    their_amount      numeric(18,2),
    their_currency    text,
    their_round       text,
    their_player      text,
    -- What our books say.
    our_id            uuid,
    our_type          text,
    our_status        text,
    our_amount        numeric(18,2),
    our_currency      text,
    our_round         text,
    our_player        uuid,
    our_created_at    timestamptz,
    reversed_by       text,                                 -- the reversal that we have heard of, the provider's id
    CONSTRAINT reconciliation_differences_in_order PRIMARY KEY (reconciliation_id, number)
);

CREATE TABLE reconciliation_notes (  -- added: what the staff did about a difference. It stays a difference
    id                uuid PRIMARY KEY,
    reconciliation_id uuid NOT NULL,
    number            integer NOT NULL,
    staff_id          uuid NOT NULL CONSTRAINT reconciliation_notes_staff_exists REFERENCES staff,
    note              text NOT NULL CONSTRAINT reconciliation_notes_say_something CHECK (length(note) BETWEEN 1 AND 500),
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reconciliation_notes_difference_exists
        FOREIGN KEY (reconciliation_id, number) REFERENCES reconciliation_differences
);
CREATE INDEX reconciliation_notes_by_difference ON reconciliation_notes (reconciliation_id, number, id);

CREATE TRIGGER reconciliations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER reconciliation_differences_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_differences
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER reconciliation_notes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_notes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

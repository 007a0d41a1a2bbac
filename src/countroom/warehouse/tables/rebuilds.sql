-- How far a table's rebuild has come: written after the rows, so that a broken one goes on where it was.
CREATE TABLE IF NOT EXISTS rebuilds (
    topic        String,
    source       String,                                   -- which PostgreSQL and which database the rows are from
    from_day     Nullable(Date),                           -- null: everything
    state        LowCardinality(String),                   -- copying, exchanging, done
    copied_up_to UUID,                                     -- ids up to this one are in the shadow
    rows         UInt64,                                   -- so many of them
    shadow       UUID,                                     -- of the shadow table: after the exchange it is the table's
    recorded_at  DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
) ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY topic;

-- How far the log has been loaded: written after the rows, before the slot is confirmed.
CREATE TABLE IF NOT EXISTS pipeline_positions (
    slot          String,
    source        String,                                  -- which PostgreSQL and which database the facts are from
    copied        UInt8,                                   -- 0 while the first copy of the tables is under way
    lsn           UInt64,                                  -- everything committed before it has arrived
    committed_at  DateTime64(6, 'UTC'),                    -- when the last transaction that arrived was committed
    rows          UInt64,                                  -- rows loaded with this step
    recorded_at   DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
) ENGINE = ReplacingMergeTree(lsn)
ORDER BY slot;

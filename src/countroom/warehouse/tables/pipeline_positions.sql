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

-- How far each partition of Kafka's topics has been loaded, said by its loader after each batch and while idle.
CREATE TABLE IF NOT EXISTS loaded_partitions (
    topic         LowCardinality(String),
    partition     UInt32,
    next_offset   UInt64,                                  -- everything before it has arrived
    end_offset    UInt64,                                  -- where the partition ended then, as far as the loader knew
    committed_at  Nullable(DateTime64(6, 'UTC')),          -- when the last transaction that arrived was committed
    recorded_at   DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
) ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (topic, partition, isNull(committed_at));         -- idle words do not replace the last moment

-- Up to where PostgreSQL and ClickHouse agreed when they were last compared and did.
CREATE TABLE IF NOT EXISTS comparisons (
    source      String,                                    -- which PostgreSQL and which database
    settled     UInt64,                                    -- position in its log: changes up to it have arrived
    moment      DateTime64(6, 'UTC'),                      -- by its clock
    recorded_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
) ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY source;

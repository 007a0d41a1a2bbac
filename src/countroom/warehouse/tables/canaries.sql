-- When each canary was sent and when it was here: the time from commit to visible, second by second. A day is kept.
CREATE TABLE IF NOT EXISTS canaries (
    sent_at    DateTime64(6, 'UTC'),                       -- by PostgreSQL's clock
    arrived_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),  -- by ClickHouse's: the two must agree
    _version   UInt64                                      -- its position in the log
) ENGINE = MergeTree                                       -- it may arrive twice; the first time counts
ORDER BY sent_at
TTL toDateTime(sent_at, 'UTC') + INTERVAL 1 DAY;

CREATE TABLE IF NOT EXISTS landing_canaries (
    id        UUID,
    sent_at   DateTime64(6, 'UTC'),
    __op      String,
    __deleted String,
    __lsn     UInt64,
    __ts_us   UInt64
) ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS landing_canaries_to_canaries TO canaries AS
SELECT sent_at, now64(6, 'UTC') AS arrived_at, __lsn AS _version FROM landing_canaries;

-- One row per player: for registrations and as a dimension. No personal data arrives here.
CREATE TABLE IF NOT EXISTS players (
    user_id       UUID,
    registered_at DateTime64(6, 'UTC'),
    country       LowCardinality(String),                  -- '' when it is not known
    status        LowCardinality(String),
    kyc_status    LowCardinality(String),
    updated_at    DateTime64(6, 'UTC'),
    _version      UInt64,
    _ingested_at  DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    INDEX ingested_at_range _ingested_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(_version)
ORDER BY user_id;

CREATE TABLE IF NOT EXISTS landing_users (
    id         UUID,
    country    Nullable(String),
    status     String,
    kyc_status String,
    created_at DateTime64(6, 'UTC'),
    updated_at DateTime64(6, 'UTC'),
    __op       String,
    __deleted  String,
    __lsn      UInt64,
    __ts_us    UInt64
) ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS landing_users_to_players TO players AS
SELECT id                  AS user_id,
       created_at          AS registered_at,
       ifNull(country, '') AS country,
       status,
       kyc_status,
       updated_at,
       __lsn               AS _version,
       now64(6, 'UTC')     AS _ingested_at
  FROM landing_users;

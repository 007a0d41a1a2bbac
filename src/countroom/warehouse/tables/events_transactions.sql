-- One row per transaction: its latest version, once merged or read with FINAL.
-- event_time is created_at and never changes, so all versions of a row meet in one partition
-- and under one key. Whatever counts money reads with FINAL.
-- What one insert writes is one file instead of one for each column: making sixty files, and removing them after the next
-- merge, costs a quarter of it. Larger parts have a file for each column as ever.
CREATE TABLE IF NOT EXISTS events_transactions (
    event_time        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    user_id           UUID,
    wallet_type       LowCardinality(String),
    transaction_type  LowCardinality(String),
    amount            Decimal(18, 2),
    currency          FixedString(3),
    provider          LowCardinality(String),              -- '' when there is none
    metadata          JSON(max_dynamic_paths = 64),
    -- Added: identity and version, without which nothing is exact,
    transaction_id    UUID,
    _version          UInt64,                               -- the change's position in PostgreSQL's log
    _ingested_at      DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    -- and what a transaction explains about itself.
    status            LowCardinality(String),
    fee               Decimal(18, 2),
    processed_at      Nullable(DateTime64(6, 'UTC')),
    wallet_account_id UUID,
    external_id       String,
    game_id           Nullable(UUID),
    game_round_id     Nullable(UUID),
    payment_id        Nullable(UUID),
    INDEX processed_at_range processed_at TYPE minmax GRANULARITY 1,
    INDEX ingested_at_range _ingested_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(_version)
PARTITION BY toYYYYMM(event_time)
ORDER BY (toDate(event_time), transaction_type, wallet_type, currency, user_id, transaction_id)
SETTINGS min_bytes_for_wide_part = 33554432;

-- Messages land here as they are; the engine keeps nothing. Words are plain strings: a dictionary (LowCardinality) would
-- be looked through for each value as it is read, which takes as long as reading all the rest.
CREATE TABLE IF NOT EXISTS landing_transactions (
    id                UUID,
    wallet_account_id UUID,
    external_id       String,
    amount            Decimal(18, 2),
    fee               Decimal(18, 2),
    type              String,
    status            String,
    metadata          String,
    processed_at      Nullable(DateTime64(6, 'UTC')),
    created_at        DateTime64(6, 'UTC'),
    user_id           UUID,
    wallet_type       String,
    currency          FixedString(3),
    provider          Nullable(String),
    game_id           Nullable(UUID),
    game_round_id     Nullable(UUID),
    payment_id        Nullable(UUID),
    __op              String,
    __deleted         String,
    __lsn             UInt64,
    __ts_us           UInt64
) ENGINE = Null;

-- Renames and casts; counts nothing.
CREATE MATERIALIZED VIEW IF NOT EXISTS landing_transactions_to_events TO events_transactions AS
SELECT created_at                         AS event_time,
       user_id,
       wallet_type,
       type                               AS transaction_type,
       amount,
       currency,
       ifNull(provider, '')               AS provider,
       CAST(metadata, 'JSON(max_dynamic_paths = 64)') AS metadata,
       id                                 AS transaction_id,
       __lsn                              AS _version,
       now64(6, 'UTC')                    AS _ingested_at,
       status,
       fee,
       processed_at,
       wallet_account_id,
       external_id,
       game_id,
       game_round_id,
       payment_id
  FROM landing_transactions;

-- One row per round: its latest version, once merged or read with FINAL.
-- event_time is when the round opened; it never changes.
-- What one insert writes is one file (see events_transactions.sql).
CREATE TABLE IF NOT EXISTS events_game_rounds (
    event_time   DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    user_id      UUID,
    game_id      UUID,
    provider     LowCardinality(String),
    bet_amount   Decimal(18, 2),
    win_amount   Decimal(18, 2),
    session_id   UUID,
    status       LowCardinality(String),
    -- Added: identity and version; the currency of the two amounts; the provider's own number.
    round_id     UUID,
    _version     UInt64,
    _ingested_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    currency     FixedString(3),
    external_id  String,
    closed_at    Nullable(DateTime64(6, 'UTC')),
    INDEX ingested_at_range _ingested_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(_version)
PARTITION BY toYYYYMM(event_time)
ORDER BY (toDate(event_time), currency, game_id, user_id, round_id)
SETTINGS min_bytes_for_wide_part = 33554432;

CREATE TABLE IF NOT EXISTS landing_game_rounds (
    id          UUID,
    session_id  UUID,
    user_id     UUID,
    game_id     UUID,
    provider    String,
    external_id String,
    currency    FixedString(3),
    bet_amount  Decimal(18, 2),
    win_amount  Decimal(18, 2),
    status      String,
    opened_at   DateTime64(6, 'UTC'),
    closed_at   Nullable(DateTime64(6, 'UTC')),
    __op        String,
    __deleted   String,
    __lsn       UInt64,
    __ts_us     UInt64
) ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS landing_game_rounds_to_events TO events_game_rounds AS
SELECT opened_at       AS event_time,
       user_id,
       game_id,
       provider,
       bet_amount,
       win_amount,
       session_id,
       status,
       id              AS round_id,
       __lsn           AS _version,
       now64(6, 'UTC') AS _ingested_at,
       currency,
       external_id,
       closed_at
  FROM landing_game_rounds;

-- How far each mart has taken up what arrived.
CREATE TABLE IF NOT EXISTS mart_refreshes (
    mart             String,
    ingested_through DateTime64(6, 'UTC'),                 -- everything that had arrived by then is counted
    _version         UInt64
) ENGINE = ReplacingMergeTree(_version)
ORDER BY mart;

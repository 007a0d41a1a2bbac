-- A day's figures in the reporting currency; definitions in marts/daily_kpi.sql and docs/kpi.md.
CREATE TABLE IF NOT EXISTS daily_kpi (
    date                   Date,                           -- in the reporting time zone
    active_users           UInt64,
    gross_gaming_revenue   Decimal(18, 2),
    deposits_sum           Decimal(18, 2),
    withdrawals_sum        Decimal(18, 2),
    conversion_rate        Nullable(Decimal(18, 6)),       -- first_depositors / registrations; null without registrations
    -- Added: what the rate was made of, the currency of the sums, and when.
    first_depositors       UInt64,
    registrations          UInt64,
    currency               FixedString(3),
    computed_at            DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
    _version               UInt64
) ENGINE = ReplacingMergeTree(_version)
ORDER BY date;

-- A day's components in each currency; definitions in marts/daily_kpi_by_currency.sql.
CREATE TABLE IF NOT EXISTS daily_kpi_by_currency (
    date                   Date,                           -- in the reporting time zone
    currency               FixedString(3),
    active_users           UInt64,
    bets_sum               Decimal(18, 2),
    wins_sum               Decimal(18, 2),
    gross_gaming_revenue   Decimal(18, 2),
    deposits_sum           Decimal(18, 2),
    withdrawals_sum        Decimal(18, 2),
    reporting_currency     FixedString(3),
    rate                   Decimal(20, 10),                -- one unit of currency in the reporting currency; 0: nothing to convert
    computed_at            DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
    _version               UInt64
) ENGINE = ReplacingMergeTree(_version)
ORDER BY (date, currency);

-- Moments whose days' figures may have changed since a moment, by quarters of an hour: every
-- time zone's midnight falls on one.
WITH arrived AS (
    SELECT event_time, processed_at, transaction_type, user_id
      FROM events_transactions
     WHERE _ingested_at > {since:DateTime64(6, 'UTC')}
)
SELECT DISTINCT toStartOfFifteenMinutes(moment) AS quarter
  FROM (
        SELECT event_time AS moment FROM arrived
         UNION ALL
        SELECT assumeNotNull(processed_at) FROM arrived WHERE processed_at IS NOT NULL
         UNION ALL
        -- A player's first deposit may have become another one: all days on which they deposited.
        SELECT assumeNotNull(processed_at)
          FROM events_transactions
         WHERE transaction_type = 'deposit' AND processed_at IS NOT NULL
           AND user_id IN (SELECT user_id FROM arrived WHERE transaction_type = 'deposit')
         UNION ALL
        SELECT registered_at FROM players WHERE _ingested_at > {since:DateTime64(6, 'UTC')}
       )
 ORDER BY quarter

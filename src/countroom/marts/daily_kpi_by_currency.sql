-- A day's components in each currency. The words are those of docs/kpi.md.
--
-- The day is [start, end) in UTC: it begins and ends at midnight of the reporting time zone.
-- Real money is wallet_type 'main'.
SELECT toString(currency) AS currency,

       -- active_users: distinct players with at least one successful real-money bet that day. A free
       -- round's bet is kept with an amount of zero, and is none.
       uniqExactIf(user_id, transaction_type = 'bet' AND amount > 0) AS active_users,

       -- gross_gaming_revenue: real-money bets − wins, settled, by event day; a reversed bet is in neither.
       sumIf(amount, transaction_type = 'bet')        AS bets_sum,
       sumIf(amount, transaction_type = 'win')        AS wins_sum,
       bets_sum - wins_sum                            AS gross_gaming_revenue,

       -- deposits_sum, withdrawals_sum: successful ones, by the day they were processed; a released
       -- withdrawal is not a deposit.
       sumIf(amount, transaction_type = 'deposit')    AS deposits_sum,
       sumIf(amount, transaction_type = 'withdrawal') AS withdrawals_sum

  FROM (
        SELECT currency, user_id, transaction_type, amount
          FROM events_transactions FINAL
         WHERE transaction_type IN ('bet', 'win') AND wallet_type = 'main' AND status = 'success'
           AND toDate(event_time) >= toDate({start:DateTime64(6, 'UTC')})    -- the table's order
           AND event_time >= {start:DateTime64(6, 'UTC')} AND event_time < {end:DateTime64(6, 'UTC')}
         UNION ALL
        SELECT currency, user_id, transaction_type, amount
          FROM events_transactions FINAL
         WHERE transaction_type IN ('deposit', 'withdrawal') AND wallet_type = 'main' AND status = 'success'
           AND processed_at >= {start:DateTime64(6, 'UTC')} AND processed_at < {end:DateTime64(6, 'UTC')}
       )
 GROUP BY currency
 ORDER BY currency

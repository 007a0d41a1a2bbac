-- A day's figures in the reporting currency. The words are those of docs/kpi.md.
--
-- Each component of each currency is converted at the day's rate and rounded half away from
-- zero to two decimals; then they are added.
WITH
    (SELECT (sum(toDecimal64(round(gross_gaming_revenue * toDecimal256(rate, 10), 2), 2)),
             sum(toDecimal64(round(deposits_sum * toDecimal256(rate, 10), 2), 2)),
             sum(toDecimal64(round(withdrawals_sum * toDecimal256(rate, 10), 2), 2)))
       FROM daily_kpi_by_currency FINAL
      WHERE date = {day:Date}) AS sums,

    -- active_users: distinct players with at least one successful real-money bet that day. A free
    -- round's bet is kept with an amount of zero, and is none. One who bets in two currencies is one
    -- player, so the currencies' counts are not added.
    (SELECT uniqExact(user_id)
       FROM events_transactions FINAL
      WHERE toDate(event_time) >= toDate({start:DateTime64(6, 'UTC')})
        AND event_time >= {start:DateTime64(6, 'UTC')} AND event_time < {end:DateTime64(6, 'UTC')}
        AND transaction_type = 'bet' AND wallet_type = 'main' AND status = 'success' AND amount > 0) AS active,

    -- conversion_rate: players whose first deposit ever fell on that day ÷ registrations of that
    -- day; null without registrations; numerator and denominator are stored.
    (SELECT countIf(first_deposit >= {start:DateTime64(6, 'UTC')})
       FROM (SELECT min(assumeNotNull(processed_at)) AS first_deposit
               FROM events_transactions FINAL
              WHERE transaction_type = 'deposit' AND wallet_type = 'main' AND status = 'success'
                AND processed_at IS NOT NULL
              GROUP BY user_id)
      WHERE first_deposit < {end:DateTime64(6, 'UTC')}) AS depositors,

    (SELECT count()
       FROM players FINAL
      WHERE registered_at >= {start:DateTime64(6, 'UTC')} AND registered_at < {end:DateTime64(6, 'UTC')}) AS registered

SELECT active                        AS active_users,
       sums.1                        AS gross_gaming_revenue,
       sums.2                        AS deposits_sum,
       sums.3                        AS withdrawals_sum,
       if(registered = 0, NULL, round(toDecimal128(depositors, 12) / toDecimal128(greatest(registered, 1), 0), 6))
                                     AS conversion_rate,
       depositors                    AS first_depositors,
       registered                    AS registrations

"""What the pages read from ClickHouse: one function a statement."""

from datetime import UTC, date, datetime
from decimal import Decimal

from clickhouse_connect.driver.asyncclient import AsyncClient

from countroom.clickhouse import READ_SETTINGS
from countroom.web.backoffice.views import Day, MinuteRow


async def days(warehouse: AsyncClient, first: date, last: date) -> dict[date, Day]:
    """Return the rows of `daily_kpi` from one day to another, both included; a day without a row is absent."""
    result = await warehouse.query(
        """
        SELECT date, active_users, gross_gaming_revenue, deposits_sum, withdrawals_sum, conversion_rate
          FROM daily_kpi FINAL
         WHERE date BETWEEN {first:Date} AND {last:Date}
        """,
        parameters={"first": first, "last": last},
        settings=dict(READ_SETTINGS),
    )
    return {
        row["date"]: Day(
            active_users=row["active_users"],
            gross_gaming_revenue=Decimal(row["gross_gaming_revenue"]),
            deposits_sum=Decimal(row["deposits_sum"]),
            withdrawals_sum=Decimal(row["withdrawals_sum"]),
            conversion_rate=None if row["conversion_rate"] is None else Decimal(row["conversion_rate"]),
        )
        for row in result.named_results()
    }


async def minutes(warehouse: AsyncClient, since: datetime) -> list[MinuteRow]:
    """Return real-money play by minute and currency, settled as the KPI counts it (docs/kpi.md)."""
    result = await warehouse.query(
        """
        SELECT toUnixTimestamp(toStartOfMinute(event_time))                        AS minute,
               toString(currency)                                                  AS currency_text,
               sumIf(amount, transaction_type = 'bet') - sumIf(amount, transaction_type = 'win') AS revenue,
               countIf(transaction_type = 'bet' AND amount > 0)                    AS bets
          FROM events_transactions FINAL
         WHERE event_time >= {since:DateTime64(6, 'UTC')}
           AND transaction_type IN ('bet', 'win')
           AND wallet_type = 'main'
           AND status = 'success'
         GROUP BY minute, currency_text
        """,
        parameters={"since": since},
        settings=dict(READ_SETTINGS),
    )
    return [
        MinuteRow(
            minute=datetime.fromtimestamp(row["minute"], UTC),
            currency=row["currency_text"],
            gross_gaming_revenue=Decimal(row["revenue"]),
            bets=row["bets"],
        )
        for row in result.named_results()
    ]


async def players_with_a_bet(warehouse: AsyncClient, since: datetime) -> int:
    """Return how many players have had a bet taken since then."""
    result = await warehouse.query(
        """
        SELECT uniqExact(user_id) AS players
          FROM events_transactions FINAL
         WHERE event_time >= {since:DateTime64(6, 'UTC')}
           AND transaction_type = 'bet'
           AND status = 'success'
           AND amount > 0  -- a free round's bet is none (docs/kpi.md)
        """,
        parameters={"since": since},
        settings=dict(READ_SETTINGS),
    )
    return sum(int(row["players"]) for row in result.named_results())

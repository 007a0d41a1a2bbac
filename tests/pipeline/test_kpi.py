"""The KPI row of a day equals what plain SQL over PostgreSQL's own tables gives, to the cent."""

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from pipeline_rows import NOON, Books, books, running_pipeline, warehouse
from relaying import running_relay
from test_consume import running_loader

from countroom.kafka import Configuration
from countroom.marts import days
from countroom.marts.refresh import MissingExchangeRate, Watch, refresh
from countroom.settings import Settings
from countroom.warehouse import reconcile
from patience import until

TODAY = date(2026, 3, 10)
YESTERDAY = date(2026, 3, 9)
COLUMNS = "active_users, gross_gaming_revenue, deposits_sum, withdrawals_sum, first_depositors, registrations"

PLAIN = """
WITH local AS (
    SELECT *, (created_at AT TIME ZONE %(zone)s)::date AS made, (processed_at AT TIME ZONE %(zone)s)::date AS processed
      FROM transactions WHERE status = 'success' AND wallet_type = 'main'
), parts AS (
    SELECT currency::text,
           coalesce(sum(amount) FILTER (WHERE type = 'bet' AND made = %(day)s), 0)
           - coalesce(sum(amount) FILTER (WHERE type = 'win' AND made = %(day)s), 0) AS revenue,
           coalesce(sum(amount) FILTER (WHERE type = 'deposit' AND processed = %(day)s), 0) AS deposits,
           coalesce(sum(amount) FILTER (WHERE type = 'withdrawal' AND processed = %(day)s), 0) AS withdrawals
      FROM local GROUP BY currency
), converted AS (
    SELECT sum(round(revenue * rate, 2)) AS revenue, sum(round(deposits * rate, 2)) AS deposits,
           sum(round(withdrawals * rate, 2)) AS withdrawals
      FROM parts
      JOIN (SELECT 'EUR' AS currency, 1::numeric AS rate UNION ALL
            SELECT currency::text, rate FROM exchange_rates WHERE day = %(day)s) AS rates USING (currency)
)
SELECT (SELECT count(DISTINCT user_id) FROM local WHERE type = 'bet' AND amount > 0 AND made = %(day)s),
       revenue, deposits, withdrawals,
       (SELECT count(*) FROM (SELECT min(processed) AS first FROM local WHERE type = 'deposit' GROUP BY user_id) AS f
         WHERE first = %(day)s),
       (SELECT count(*) FROM users WHERE (created_at AT TIME ZONE %(zone)s)::date = %(day)s)
  FROM converted
"""


def plain(book: Books, day: date, zone: str = "UTC") -> tuple[Any, ...]:
    with book.connection.cursor() as cursor:
        cursor.execute(PLAIN, {"day": day, "zone": zone})
        row = cursor.fetchone()
    assert row is not None
    return tuple(row)


def mart(settings: Settings, day: date) -> tuple[Any, ...]:
    with warehouse(settings) as client:
        rows = client.query(f"SELECT {COLUMNS} FROM daily_kpi FINAL WHERE date = '{day}'").result_rows
    assert len(rows) == 1
    return tuple(rows[0])


def rate(book: Books, currency: str, day: date, value: str) -> None:
    book.ask(
        "INSERT INTO exchange_rates (currency, reporting_currency, day, rate) VALUES (%s, 'EUR', %s, %s)",
        (currency, day, value),
    )


def a_day_of_play(book: Books) -> dict[str, Any]:
    """Bets, wins, a second currency, bonus money, free rounds, what is pending, released and settled a day later."""
    late = NOON - timedelta(days=1)
    anna, bert, cleo = book.player(), book.player(), book.player(late)
    rate(book, "USD", TODAY, "0.8612345678")
    rate(book, "USD", YESTERDAY, "0.86")
    made = {
        "deposit": book.move(anna, "deposit", "100.00"),
        "reversed": book.move(anna, "bet", "7.77"),
        "anna": anna,
        "bert": bert,
    }
    book.move(anna, "bet", "10.03")
    book.move(anna, "win", "4.10")
    book.move(anna, "bet", "5.05", currency="USD")
    book.move(bert, "deposit", "50.55", currency="USD")
    book.move(bert, "bet", "3.33", currency="USD")
    book.move(bert, "win", "20.01", currency="USD")
    book.move(bert, "bet", "9.00", wallet="bonus")
    book.move(cleo, "bet", "2.00", wallet="bonus")
    book.move(cleo, "deposit", "30.00", at=late, processed=NOON)  # made yesterday, settled today
    book.move(anna, "withdrawal", "20.00", at=late, processed=NOON)
    book.move(anna, "withdrawal", "11.00", status="pending")
    book.move(anna, "withdrawal", "12.00", status="cancelled", processed=NOON)
    book.move(anna, "withdrawal", "13.00", status="failed", processed=NOON)
    book.move(cleo, "bet", "0.00", metadata={"round": "r1", "award": "welcome", "free_amount": "1.00"})
    book.move(cleo, "win", "0.00", metadata={"round": "r1", "award": "welcome", "free_amount": "2.00"})
    book.move(cleo, "bonus", "7.00", wallet="bonus", metadata={"kind": "granted"})
    book.move(cleo, "bonus", "-2.00", wallet="bonus", metadata={"kind": "forfeited"})
    book.move(cleo, "adjustment", "-1.00", metadata={"kind": "adjustment"})
    book.move(bert, "deposit", "500.00", status="failed")
    return made


def test_the_days_row_is_postgresqls_to_the_cent_through_a_reversal_and_a_late_event(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings):
        made = a_day_of_play(book)
        book.wait_for_copy(settings)
        book.wait_until_arrived()
        assert refresh(settings) == [YESTERDAY, TODAY]
        first = mart(settings, TODAY)
        assert first == plain(book, TODAY)
        assert first[0] == 2
        assert first[4:] == (3, 2)
        assert mart(settings, YESTERDAY) == plain(book, YESTERDAY)

        book.cancel(made["reversed"])
        book.move(made["bert"], "bet", "1.23", at=NOON - timedelta(days=1))  # arrives a day late
        book.wait_until_arrived()
        with closing(Watch(settings)) as watch:
            assert watch.has_changes()
        refreshed: list[date] = []
        assert refresh(settings, progress=refreshed.append) == refreshed == [YESTERDAY, TODAY]
        second = mart(settings, TODAY)
        assert second == plain(book, TODAY)
        assert second[1] == first[1] - Decimal("7.77")
        assert mart(settings, YESTERDAY)[:2] == (1, Decimal("1.23"))

        with warehouse(settings) as client:
            parts = client.query(
                "SELECT currency, bets_sum, wins_sum, deposits_sum, rate FROM daily_kpi_by_currency FINAL "
                f"WHERE date = '{TODAY}' ORDER BY currency"
            ).result_rows
        assert parts == [
            (b"EUR", Decimal("10.03"), Decimal("4.10"), Decimal("130.00"), Decimal(1)),
            (b"USD", Decimal("8.38"), Decimal("20.01"), Decimal("50.55"), Decimal("0.8612345678")),
        ]


def test_the_days_row_is_postgresqls_to_the_cent_when_facts_come_through_kafka(
    settings: Settings, brokers: Configuration
) -> None:
    through_kafka = msgspec.structs.replace(settings, kafka_servers=brokers["bootstrap.servers"])

    def arrived() -> bool:
        return reconcile.compare(through_kafka, deadline_seconds=40).violations == ()

    def copied(book: Books) -> bool:
        return bool(book.ask("SELECT 1 FROM relay_copies WHERE topic = 'users'"))

    with books(settings) as book, running_relay(settings, brokers), running_loader(through_kafka, brokers):
        made = a_day_of_play(book)
        until(lambda: copied(book), 40)
        assert arrived()
        assert refresh(through_kafka) == [YESTERDAY, TODAY]
        first = mart(settings, TODAY)
        assert first == plain(book, TODAY)
        assert mart(settings, YESTERDAY) == plain(book, YESTERDAY)

        book.cancel(made["reversed"])
        book.move(made["bert"], "bet", "1.23", at=NOON - timedelta(days=1))
        assert arrived()
        with closing(Watch(through_kafka)) as watch:
            assert watch.has_changes()
        assert refresh(through_kafka) == [YESTERDAY, TODAY]
        assert mart(settings, TODAY) == plain(book, TODAY) != first
        assert mart(settings, YESTERDAY) == plain(book, YESTERDAY)


def test_a_first_deposit_that_becomes_an_earlier_one_restates_both_days(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings):
        user = book.player()
        book.move(user, "deposit", "10.00")
        earlier = book.move(user, "deposit", "5.00", at=NOON - timedelta(days=1), status="pending")
        book.wait_for_copy(settings)
        book.wait_until_arrived()
        refresh(settings)
        assert mart(settings, TODAY)[4] == 1
        book.ask("UPDATE transactions SET status = 'success', processed_at = created_at WHERE id = %s", (str(earlier),))
        book.wait_until_arrived()
        refresh(settings)
        assert (mart(settings, YESTERDAY)[4], mart(settings, TODAY)[4]) == (1, 0)
        with warehouse(settings) as client:
            assert client.query("SELECT date, conversion_rate FROM daily_kpi FINAL ORDER BY date").result_rows == [
                (YESTERDAY, None),
                (TODAY, Decimal(0)),
            ]


def test_a_missing_rate_refuses_its_day_alone_until_it_is_entered(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings):
        user = book.player()
        book.move(user, "bet", "1.00", currency="SEK")
        book.move(user, "bet", "2.00", at=NOON - timedelta(days=1))
        book.wait_for_copy(settings)
        book.wait_until_arrived()
        with pytest.raises(MissingExchangeRate, match="SEK to EUR for 2026-03-10"):
            refresh(settings)
        assert mart(settings, YESTERDAY)[1] == Decimal("2.00")
        assert book.ask("SELECT day, code FROM kpi_refusals") == [(TODAY, "missing_exchange_rate")]
        with warehouse(settings) as client:
            assert client.query(f"SELECT 1 FROM daily_kpi WHERE date = '{TODAY}'").result_rows == []
        rate(book, "SEK", TODAY, "0.095")
        assert TODAY in refresh(settings)
        assert mart(settings, TODAY)[1] == Decimal("0.10")
        assert book.ask("SELECT 1 FROM kpi_refusals") == []


def test_a_day_is_that_of_the_reporting_time_zone_and_an_emptied_one_has_zeros(settings: Settings) -> None:
    tokyo = msgspec.structs.replace(settings, reporting_time_zone="Asia/Tokyo")
    with books(settings) as book, running_pipeline(settings):
        user = book.player()
        bet = book.move(user, "bet", "5.00", at=datetime(2026, 3, 9, 15, 0, tzinfo=UTC))  # Tokyo's midnight
        book.wait_for_copy(settings)
        book.wait_until_arrived()
        assert refresh(tokyo, TODAY) == [TODAY]
        assert mart(settings, TODAY) == plain(book, TODAY, "Asia/Tokyo")
        assert mart(settings, TODAY)[1] == Decimal("5.00")
        book.cancel(bet)
        book.wait_until_arrived()
        refresh(tokyo, TODAY)
        assert mart(settings, TODAY)[:2] == (0, Decimal(0))
        with warehouse(settings) as client:
            assert client.query("SELECT bets_sum FROM daily_kpi_by_currency FINAL").result_rows == [(Decimal(0),)]


def test_a_day_is_as_long_as_its_clocks_say() -> None:
    spring = days.day_in("Europe/Malta", date(2026, 3, 29))
    autumn = days.day_in("Europe/Malta", date(2026, 10, 25))
    assert spring.end - spring.start == timedelta(hours=23)
    assert autumn.end - autumn.start == timedelta(hours=25)
    assert days.date_in("Asia/Kathmandu", datetime(2026, 3, 9, 18, 15, tzinfo=UTC)) == TODAY

"""Recompute the KPI marts of the days that changed. The same function under every scheduler.

A day is computed anew from the facts, never adjusted, so refreshing twice is harmless. Its
rows carry a version; the newest counts. What arrived since the last refresh, with some
overlap, names the days; so do exchange rates that were entered, and days that were refused.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

import psycopg2
from clickhouse_connect.driver.client import Client
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom import clickhouse
from countroom.marts.days import Day, date_in, day_in
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.warehouse import positions, schema

OVERLAP: Final = timedelta(seconds=30)
"""Rows are stamped when their insert begins and are seen when it ends; no insert takes longer."""
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)

_COMPONENTS: Final = ("bets_sum", "wins_sum", "gross_gaming_revenue", "deposits_sum", "withdrawals_sum")

Progress = Callable[[date], None]
"""Called with each day when it has been computed."""


class MissingExchangeRate(Refusal):
    """A day's money cannot be converted; unconverted money is never added."""

    kind = "conflict"
    code = "missing_exchange_rate"

    def __init__(self, currency: str, reporting_currency: str, day: date) -> None:
        self.currency = currency
        self.day = day
        super().__init__(
            f"No exchange rate from {currency} to {reporting_currency} for {day}: its KPI row cannot be computed."
        )


def refresh(settings: Settings, day: date | None = None, progress: Progress | None = None) -> list[date]:
    """Recompute one day, or all days that changed since the last refresh; return those computed.

    Blocks: call it in a thread. A second refresh waits for the first.

    Raises:
        MissingExchangeRate: of the first day that lacks one; every other day has been computed.
            The refused day keeps the row it had, is kept in ``kpi_refusals``, and is tried again
            each time.
    """
    assert settings.database_url is not None
    assert settings.clickhouse_url is not None
    with _books(settings.database_url) as books, clickhouse.connect(settings.clickhouse_url) as client:
        schema.ensure(client, settings.clickhouse_url)
        since, now = _since(settings, client)
        days = [day] if day else _changed(settings, client, books, since)
        computed = []
        refusals = []
        for changed in days:
            try:
                _compute(settings, client, books, changed)
            except MissingExchangeRate as refusal:
                refusals.append(refusal)
                _ask(
                    books,
                    "INSERT INTO kpi_refusals (day, code, sentence) VALUES (%s, %s, %s) "
                    "ON CONFLICT (day) DO UPDATE SET code = excluded.code, sentence = excluded.sentence",
                    (changed, refusal.code, refusal.sentence),
                )
            else:
                computed.append(changed)
                if progress:
                    progress(changed)
        _ask(books, "DELETE FROM kpi_refusals WHERE day = ANY(%s)", (computed,))
        if day is None:
            _store(client, "mart_refreshes", {"mart": _mart(settings), "ingested_through": now})
    if refusals:
        raise refusals[0]
    return computed


class Watch:
    """Asks whether a refresh would find something to do, over connections that it keeps.

    It is asked every few seconds for as long as a worker lives; connecting costs more than asking.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._books: Connection | None = None

    def has_changes(self) -> bool:
        """Whether something has arrived, or a rate was entered, since the last refresh."""
        try:
            return self._ask()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; asking again opens them."""
        if self._client is not None:
            self._client.close()
        if self._books is not None:
            self._books.close()
        self._client = self._books = None

    def _ask(self) -> bool:
        assert self._settings.database_url is not None
        assert self._settings.clickhouse_url is not None
        if self._client is None:
            self._client = clickhouse.connect(self._settings.clickhouse_url)
            schema.ensure(self._client, self._settings.clickhouse_url)
        if self._books is None:
            self._books = psycopg2.connect(self._settings.database_url)
            self._books.autocommit = True
        since, _ = _since(self._settings, self._client)
        # Whichever way they came; an index of each table knows when its rows did.
        arrived = self._client.query(
            """
            SELECT EXISTS (SELECT 1 FROM events_transactions WHERE _ingested_at > {since:DateTime64(6, 'UTC')})
                OR EXISTS (SELECT 1 FROM players WHERE _ingested_at > {since:DateTime64(6, 'UTC')})
            """,
            parameters={"since": since},
        ).result_rows[0][0]
        return bool(arrived) or bool(_days_of_rates(self._settings, self._books, since))


def _mart(settings: Settings) -> str:
    """Return the name under which refreshes are remembered: other settings are another mart."""
    return f"daily_kpi in {settings.reporting_currency}, {settings.reporting_time_zone}"


def _since(settings: Settings, client: Client) -> tuple[datetime, datetime]:
    """Return up to where the last refresh has counted, less the overlap, and the server's present."""
    through, now = client.query(
        "SELECT (SELECT max(ingested_through) FROM mart_refreshes WHERE mart = {mart:String}), now64(6, 'UTC')",
        parameters={"mart": _mart(settings)},
    ).result_rows[0]
    return (through - OVERLAP if through and through > BEGINNING else BEGINNING), now


def _changed(settings: Settings, client: Client, books: Connection, since: datetime) -> list[date]:
    quarters = client.query(_sql("changes"), parameters={"since": since}).result_columns
    days = {date_in(settings.reporting_time_zone, quarter) for column in quarters for quarter in column}
    known = {row[0] for row in client.query("SELECT DISTINCT date FROM daily_kpi").result_rows}
    # The first time ever, or after a rebuild: a day may have lost all that it had.
    days |= known if since == BEGINNING else _days_of_rates(settings, books, since) & known
    days |= {row[0] for row in _ask(books, "SELECT day FROM kpi_refusals")}
    return sorted(days)


def _days_of_rates(settings: Settings, books: Connection, since: datetime) -> set[date]:
    """Return the days whose rates were entered since a moment."""
    rows = _ask(
        books,
        "SELECT DISTINCT day FROM exchange_rates WHERE reporting_currency = %s AND updated_at > %s",
        (settings.reporting_currency, since),
    )
    return {row[0] for row in rows}


def _compute(settings: Settings, client: Client, books: Connection, changed: date) -> None:
    """Compute a day's rows in both marts.

    Raises:
        MissingExchangeRate: nothing of the day is written.
    """
    day = day_in(settings.reporting_time_zone, changed)
    moments = {"start": day.start, "end": day.end}
    reporting = settings.reporting_currency
    components = {
        row["currency"]: row
        for row in client.query(
            _sql("daily_kpi_by_currency"), parameters=moments, settings=clickhouse.READ_SETTINGS
        ).named_results()
    }
    rates = _rates(books, reporting, day)
    for currency, component in components.items():
        if currency not in rates and any(component[name] for name in _COMPONENTS):
            raise MissingExchangeRate(currency, reporting, day.date)
    for currency in _currencies_before(client, day) - components.keys():
        # The day has nothing in this currency any more; its rows would stay without a zero.
        components[currency] = {"currency": currency, "active_users": 0} | dict.fromkeys(_COMPONENTS, Decimal(0))
    common = {"date": day.date, "_version": time.time_ns()}
    _store(
        client,
        "daily_kpi_by_currency",
        *(
            {**component, **common, "reporting_currency": reporting, "rate": rates.get(currency, Decimal(0))}
            for currency, component in components.items()
        ),
    )
    figures = next(
        iter(
            client.query(
                _sql("daily_kpi"), parameters={**moments, "day": day.date}, settings=clickhouse.READ_SETTINGS
            ).named_results()
        )
    )
    _store(client, "daily_kpi", {**figures, **common, "currency": reporting})


def _rates(books: Connection, reporting: str, day: Day) -> dict[str, Decimal]:
    """Return what one unit of each currency was worth on a day, in the reporting currency."""
    rows = _ask(
        books,
        "SELECT currency::text, rate FROM exchange_rates WHERE reporting_currency = %s AND day = %s",
        (reporting, day.date),
    )
    return {**dict(rows), reporting: Decimal(1)}


def _currencies_before(client: Client, day: Day) -> set[str]:
    rows = client.query(
        "SELECT DISTINCT toString(currency) FROM daily_kpi_by_currency WHERE date = {day:Date}",
        parameters={"day": day.date},
    ).result_rows
    return {row[0] for row in rows}


def _store(client: Client, table: str, *rows: dict[str, Any]) -> None:
    """Insert rows, all with the same columns; a version is given to those that have none."""
    complete = [{"_version": time.time_ns(), **row} for row in rows]
    if complete:
        columns = list(complete[0])
        client.insert(
            table,
            [[row[column] for column in columns] for row in complete],
            column_names=columns,
            settings=clickhouse.INSERT_SETTINGS,
        )


@contextmanager
def _books(database_url: str) -> Iterator[Connection]:
    """Connect to PostgreSQL with the right to refresh, which one connection at a time has."""
    with closing(psycopg2.connect(database_url, options="-c timezone=UTC")) as connection:
        connection.autocommit = True
        _ask(connection, "SELECT pg_advisory_lock(%s)", (positions.MARTS_LOCK,))
        yield connection


def _ask(connection: Connection, statement: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return cursor.fetchall() if cursor.description else []


def _sql(name: str) -> str:
    return files("countroom.marts").joinpath(f"{name}.sql").read_text()

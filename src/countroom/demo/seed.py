"""The demo's reference data: the sandbox provider, its games and a set of exchange rates.

The one file of the demo that goes through a room's door, because nobody sends these over HTTP.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from countroom.clock import now
from countroom.demo.paytable import GAMES, return_to_player
from countroom.games.service import ensure_game, ensure_provider
from countroom.postgres import Database
from countroom.settings import Settings

PROVIDER: Final = "sandbox"
DAYS_BEFORE: Final = 40
DAYS_AHEAD: Final = 400

EUROS: Final = {
    # What one unit is worth in euros: round figures for a demo, from no market. An operator loads its own.
    "AUD": "0.60", "BRL": "0.16", "CAD": "0.66", "CHF": "1.05", "CZK": "0.040", "DKK": "0.134", "EUR": "1",
    "GBP": "1.16", "HUF": "0.0025", "INR": "0.011", "ISK": "0.0068", "JPY": "0.0062", "KRW": "0.00066",
    "MXN": "0.050", "NOK": "0.086", "NZD": "0.55", "PLN": "0.23", "RON": "0.20", "SEK": "0.088", "TRY": "0.025",
    "UAH": "0.022", "USD": "0.92", "ZAR": "0.049",
}  # fmt: skip
_RATE_UNIT: Final = Decimal("0.0000000001")
"""exchange_rates.rate is numeric(20,10)."""


async def seed(settings: Settings, *, provider_key: str) -> None:
    """Put the demo's provider, games and exchange rates there. What is there already stays.

    ``provider_key`` is the key that the sandbox provider signs its callbacks with.
    """
    assert settings.database_url is not None
    assert settings.secret_key is not None
    database = await Database.connect(settings.database_url, size_max=2)
    try:
        await ensure_provider(
            database,
            code=PROVIDER,
            title="Sandbox Games",
            dialect="softswiss-v2",
            launch_url=f"http://127.0.0.1:{settings.sandbox_provider_port}/launch",
            demo_url=f"http://127.0.0.1:{settings.sandbox_provider_port}/launch",
            signing_keys=[provider_key],
            secret_key=settings.secret_key,
        )
        for game in GAMES:
            await ensure_game(
                database,
                provider_code=PROVIDER,
                slug=game.slug,
                title=game.title,
                volatility=game.volatility,
                genre=game.genre,
                rtp=Decimal(round(10_000 * return_to_player(game))) / 100,
                tags=(game.genre, game.volatility),
            )
        await _seed_rates(database, settings, today=now())
    finally:
        await database.close()


def rate(currency: str, reporting_currency: str) -> Decimal:
    """Return one unit of a currency in the reporting currency, as the demo has it."""
    return (Decimal(EUROS[currency]) / Decimal(EUROS[reporting_currency])).quantize(_RATE_UNIT)


async def _seed_rates(database: Database, settings: Settings, *, today: datetime) -> None:
    day = today.astimezone(ZoneInfo(settings.reporting_time_zone)).date()
    currencies = sorted({*settings.currencies, settings.reporting_currency})
    async with database.connection() as connection:
        await connection.execute(
            """
            INSERT INTO exchange_rates (currency, reporting_currency, day, rate)
            SELECT known.currency, $3, day::date, known.rate
              FROM unnest($1::text[], $2::numeric[]) AS known (currency, rate)
             CROSS JOIN generate_series($4::date, $5::date, interval '1 day') AS day
                ON CONFLICT DO NOTHING
            """,
            currencies,
            [rate(currency, settings.reporting_currency) for currency in currencies],
            settings.reporting_currency,
            day - timedelta(days=DAYS_BEFORE),
            day + timedelta(days=DAYS_AHEAD),
        )

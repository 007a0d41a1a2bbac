"""What the pages read from PostgreSQL: one function a statement."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from countroom.postgres import Database
from countroom.web.backoffice.player_views import PlayerRow
from countroom.web.backoffice.views import RoundRow


async def last_rounds(database: Database, count: int) -> list[RoundRow]:
    """Return the rounds that began last, newest first: ids are UUIDv7, so their order is time's."""
    rows = await database.fetch(
        """
        SELECT game_rounds.id, game_rounds.opened_at, game_rounds.user_id, games.title AS game, game_rounds.currency,
               game_rounds.bet_amount, game_rounds.win_amount, game_rounds.status
          FROM game_rounds
          LEFT JOIN games ON games.id = game_rounds.game_id
         ORDER BY game_rounds.id DESC
         LIMIT $1
        """,
        count,
    )
    return [RoundRow(**{**row, "game": row["game"] or "unknown game"}) for row in rows]


async def count_open_sessions(database: Database, since: UUID) -> int:
    """Return how many game sessions are open, of those whose id (a UUIDv7) is not before ``since``."""
    row = await database.fetchrow(
        "SELECT count(*) AS open FROM game_sessions WHERE id >= $1 AND status = 'open'", since
    )
    return int(row["open"]) if row else 0


async def rates(database: Database, reporting_currency: str, days: Sequence[date]) -> dict[tuple[date, str], Decimal]:
    """Return what one unit of each currency was worth on each day, in the reporting currency."""
    rows = await database.fetch(
        """
        SELECT day, currency, rate
          FROM exchange_rates
         WHERE reporting_currency = $1 AND day = ANY($2::date[])
        """,
        reporting_currency,
        days,
    )
    same = {(day, reporting_currency): Decimal(1) for day in days}
    return {(row["day"], row["currency"]): row["rate"] for row in rows} | same


async def refused_days(database: Database, since: date) -> list[str]:
    """Return why days from that one on have no KPI row, a sentence each."""
    rows = await database.fetch("SELECT sentence FROM kpi_refusals WHERE day >= $1 ORDER BY day", since)
    return [row["sentence"] for row in rows]


async def player(database: Database, user_id: UUID) -> PlayerRow | None:
    """Return who a player is."""
    row = await database.fetchrow(
        """
        SELECT id, email, username, country, status, kyc_status, created_at, email_confirmed_at
          FROM users
         WHERE id = $1
        """,
        user_id,
    )
    return PlayerRow(**row) if row else None


async def player_by_email(database: Database, email: str) -> UUID | None:
    """Return the player who has this address, in lower case."""
    row = await database.fetchrow("SELECT id FROM users WHERE email = $1", email)
    return row["id"] if row else None


async def games(database: Database, count: int) -> list[tuple[str, str]]:
    """Return slugs and titles of games, by title."""
    rows = await database.fetch("SELECT slug, title FROM games ORDER BY title LIMIT $1", count)
    return [(row["slug"], row["title"]) for row in rows]

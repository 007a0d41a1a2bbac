"""The catalogue as lobbies, the staff and the command line look through it."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from countroom.games import listing_queries as queries
from countroom.games.rules import UnknownGame
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.schema.enumerations import GameGenre, GameVolatility

TEXT_LENGTH_MAX: Final = 100
"""Of what is searched for; no title is as long."""


class InvalidSearch(Refusal):
    """This cannot be searched for."""

    kind = "invalid"
    code = "invalid_search"


class InvalidGamesCursor(Refusal):
    """This cursor was not given by a list of games."""

    kind = "invalid"
    code = "invalid_cursor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """A game with all that the catalogue says of it, and what its provider's terms add."""

    id: UUID
    slug: str
    title: str
    volatility: GameVolatility
    genre: GameGenre
    is_active: bool
    """Its own switch."""
    countries: Sequence[str] | None
    currencies: Sequence[str] | None
    verified_only: bool
    rtp: Decimal | None
    tags: Sequence[str]
    pictures: dict[str, str]
    config: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    provider_code: str
    provider_title: str
    provider_is_active: bool
    has_demo: bool

    @property
    def can_be_launched(self) -> bool:
        """Whether both switches, its own and its provider's, are on."""
        return self.is_active and self.provider_is_active


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which games; None does not ask."""

    text: str = ""
    """Words, in their order, each a part of title and slug, in any case."""
    provider: str | None = None
    genre: GameGenre | None = None
    volatility: GameVolatility | None = None
    tag: str | None = None
    currency: str | None = None
    """Only what can be played in it."""
    country: str | None = None
    """Only what may be played there."""
    is_launchable: bool | None = None
    has_demo: bool | None = None


@dataclass(frozen=True, slots=True)
class GamesPage:
    """Games by title, and where the page after them begins; None: there is none."""

    games: list[Game]
    next: str | None


@dataclass(frozen=True, slots=True)
class ProviderSummary:
    """A provider, its terms, and how many games it has."""

    id: UUID
    code: str
    title: str
    dialect: str
    is_active: bool
    countries: Sequence[str] | None
    currencies: Sequence[str] | None
    verified_only: bool
    demo_url: str | None
    games: int
    active_games: int


async def find_games(database: Database, filters: Filters, *, limit: int, cursor: str | None = None) -> GamesPage:
    """Return a page of the games that match, by title and then slug.

    A page begins after the last game of the one before, wherever that now stands: what is added or taken away
    meanwhile never makes another game appear twice or be left out.

    Raises:
        InvalidSearch, InvalidGamesCursor: nothing was looked for.
    """
    after_title, after_slug = _place(cursor) if cursor else (None, None)
    async with database.transaction(snapshot=True) as tx:
        await queries.plan_for_what_is_asked(tx)
        rows = await queries.find_games(
            tx, _matching(filters), after_title=after_title, after_slug=after_slug, limit=limit + 1
        )
    games = [_game(row) for row in rows[:limit]]
    return GamesPage(games, _cursor(rows[limit - 1]["sort_title"], games[-1].slug) if len(rows) > limit else None)


async def count_games(database: Database, filters: Filters) -> int:
    """Return how many games match.

    Raises:
        InvalidSearch: nothing was counted.
    """
    matching = _matching(filters)
    async with database.transaction(snapshot=True) as tx:
        await queries.plan_for_what_is_asked(tx)
        return await queries.count_games(tx, matching)


async def game_of(database: Database, slug: str) -> Game:
    """Return the game with this slug.

    Raises:
        UnknownGame: there is none.
    """
    async with database.connection() as connection:
        row = await queries.game(connection, slug) if is_text(slug) else None
    if row is None:
        raise UnknownGame(f"There is no game with the slug {slug!r}.", field="slug")
    return _game(row)


async def providers_of(database: Database) -> list[ProviderSummary]:
    """Return every provider, by title."""
    async with database.connection() as connection:
        return [ProviderSummary(*row.values()) for row in await queries.providers(connection)]


def _game(row: Any) -> Game:
    values = dict(row)
    values.pop("sort_title", None)
    values["config"] = msgspec.json.decode(values["config"])
    values["pictures"] = msgspec.json.decode(values["pictures"])
    return Game(**values)


def _matching(filters: Filters) -> tuple[Any, ...]:
    for field in ("text", "provider", "tag", "currency", "country"):
        value = getattr(filters, field)
        if value is not None and (len(value) > TEXT_LENGTH_MAX or not is_text(value)):
            raise InvalidSearch(f"At most {TEXT_LENGTH_MAX} characters can be searched for.", field=field)
    words = [re.sub(r"([\\%_])", r"\\\1", word) for word in filters.text.split()]
    return (
        f"%{'%'.join(words)}%" if words else None, filters.provider, filters.genre, filters.volatility,
        [filters.tag] if filters.tag is not None else None, filters.currency, filters.country,
        filters.is_launchable, filters.has_demo,
    )  # fmt: skip


def is_text(value: str) -> bool:
    """Whether a database can hold it: a null byte or a lone surrogate is no character."""
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cursor(title: str, slug: str) -> str:
    """Write a place as a cursor: letters, digits, - and _."""
    return base64.urlsafe_b64encode(msgspec.json.encode([title, slug])).decode().rstrip("=")


def _place(cursor: str) -> tuple[str, str]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        title, slug = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=tuple[str, str])
    except (binascii.Error, UnicodeEncodeError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidGamesCursor(field="cursor") from error
    if not is_text(title + slug):
        raise InvalidGamesCursor(field="cursor")
    return title, slug

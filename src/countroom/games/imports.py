"""Importing a provider's feed: look at it, see what differs, apply exactly that."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from asyncpg import Record

from countroom import clock
from countroom.games import import_queries as queries
from countroom.games.differences import Differences, Options, compare
from countroom.games.feed import Fault, FeedGame, read_feed
from countroom.postgres import Connection, Database
from countroom.refusal import Refusal

FILE_NAME_LENGTH_MAX: Final = 200


class UnknownProvider(Refusal):
    """There is no provider with this code."""

    kind = "missing"
    code = "unknown_provider"


class FeedRefused(Refusal):
    """This feed cannot be imported; nothing was changed."""

    kind = "invalid"
    code = "feed_refused"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(field="file")
        self.faults = tuple(faults)
        """Every one that was found, in the order of the feed."""


class UnknownImport(Refusal):
    """This import is not kept any more, or never was; upload the feed again."""

    kind = "missing"
    code = "unknown_import"


class ImportApplied(Refusal):
    """This import has been applied already."""

    kind = "conflict"
    code = "import_applied"


class NotAsShown(Refusal):
    """The catalogue has changed since the differences were shown; look at them again."""

    kind = "conflict"
    code = "not_as_shown"


@dataclass(frozen=True, slots=True)
class Import:
    """A feed that was looked at, or applied."""

    id: UUID
    provider_code: str
    provider_title: str
    file_name: str
    differences: Differences
    is_applied: bool


@dataclass(frozen=True, slots=True)
class PastImport:
    """An import that was applied, in figures."""

    id: UUID
    provider: str
    file_name: str
    who: str | None
    """None: the command line."""
    applied_at: datetime
    added: int
    changed: int
    turned_off: int


class _Kept(msgspec.Struct):
    """A feed as it is kept until it is confirmed."""

    games: list[tuple[int, str, dict[str, Any]]]
    ignored: list[str]
    options: Options


async def look_at(
    database: Database, *, provider_code: str, content: bytes, file_name: str, options: Options,
    staff_id: UUID | None = None,
) -> Import:  # fmt: skip
    """Read a feed and return what it would change. Nothing of the catalogue is touched; the feed is kept for a week.

    Raises:
        UnknownProvider, FeedRefused.
    """
    feed = await asyncio.to_thread(read_feed, content, file_name)
    kept = _Kept([(game.row, game.slug, dict(game.values)) for game in feed.games], feed.ignored, options)
    import_id = clock.new_id()
    name = "".join(letter for letter in file_name if letter.isprintable())[-FILE_NAME_LENGTH_MAX:]
    async with database.transaction() as tx:
        provider_id = await queries.provider(tx, provider_code) if "\0" not in provider_code else None
        if provider_id is None:
            raise UnknownProvider(f"There is no provider with the code {provider_code!r}.", field="provider")
        if feed.faults:
            raise FeedRefused(feed.faults)
        differences, _ = await _compare(tx, provider_id, kept)
        await queries.keep_import(
            tx,
            import_id,
            provider_id=provider_id,
            staff_id=staff_id,
            file_name=name,
            feed=msgspec.json.encode(kept).decode(),
            differences=msgspec.json.encode(differences).decode(),
        )
    return await _shown(database, import_id)


async def import_of(database: Database, import_id: UUID) -> Import:
    """Return an import as it was shown, or applied.

    Raises:
        UnknownImport: it is none, or has gone.
    """
    return await _shown(database, import_id)


async def apply_import(database: Database, import_id: UUID, *, staff_id: UUID | None = None) -> Import:
    """Do exactly what was shown, in one transaction.

    Raises:
        UnknownImport, ImportApplied: nothing was changed.
        NotAsShown: it would do something else now. That is kept, and shown by `import_of`.
        FeedRefused: it would not be possible any more.
    """
    async with database.transaction() as tx:
        row = await queries.kept_import(tx, import_id)
        if row is None:
            raise UnknownImport
        if row["applied_at"] is not None:
            raise ImportApplied
        await queries.lock_provider(tx, row["provider_id"])
        kept = msgspec.json.decode(row["feed"], type=_Kept)
        differences, games = await _compare(tx, row["provider_id"], kept)
        is_as_shown = differences == msgspec.json.decode(row["differences"], type=Differences)
        if is_as_shown:
            ids = [clock.new_id() for _ in games]
            written = await queries.write_games(tx, row["provider_id"], ids, msgspec.json.encode(games).decode())
            if written != len(games):
                raise NotAsShown
            await queries.settle_search(tx)
            await queries.note_applied(tx, import_id, staff_id)
        else:
            await queries.show_again(tx, import_id, msgspec.json.encode(differences).decode())
    if not is_as_shown:
        raise NotAsShown
    return Import(import_id, row["code"], row["title"], row["file_name"], differences, is_applied=True)


async def past_imports(database: Database, count: int) -> list[PastImport]:
    """Return the imports that were applied last, newest first."""
    async with database.connection() as connection:
        return [PastImport(*row.values()) for row in await queries.imports(connection, count)]


async def _shown(database: Database, import_id: UUID) -> Import:
    async with database.transaction() as tx:
        row = await queries.kept_import(tx, import_id)
    if row is None:
        raise UnknownImport
    differences = msgspec.json.decode(row["differences"], type=Differences)
    return Import(
        import_id, row["code"], row["title"], row["file_name"], differences, is_applied=row["applied_at"] is not None
    )


async def _compare(connection: Connection, provider_id: UUID, kept: _Kept) -> tuple[Differences, list[dict[str, Any]]]:
    told = [FeedGame(*game) for game in kept.games]
    slugs = [game.slug for game in told]
    others = {row["slug"]: row["code"] for row in await queries.foreign(connection, provider_id, slugs)}
    ours = [game for game in told if game.slug not in others]
    known = {row["slug"]: _as_fed(row) for row in await queries.games_of(connection, provider_id)}
    differences, games, faults = compare(known, ours, kept.options, kept.ignored)
    faults += [
        Fault(game.row, "slug", f"{game.slug} is a game of the provider {others[game.slug]}.")
        for game in told
        if game.slug in others
    ]
    if faults:
        raise FeedRefused(sorted(faults, key=lambda fault: fault.row or 0))
    return differences, games


def _as_fed(row: Record) -> dict[str, Any]:
    """Return a game of ours with a feed's fields, in a feed's form."""
    game = {name: sorted(value) if isinstance(value, list) else value for name, value in row.items()}
    return game | {name: msgspec.json.decode(row[name]) for name in ("pictures", "config")}

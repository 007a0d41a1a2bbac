"""Providers and games, held in memory by each process.

A callback's signature is checked before anything is read for it (P8), so the keys must be there
already: they are read at start and again every few seconds, never because somebody called.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

import structlog

from countroom.games import keys, queries
from countroom.postgres import Database

REFRESH_SECONDS: Final = 2.0
"""How late a process may learn of a new game or a rotated key."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Provider:
    """A game provider as its callbacks need it."""

    id: UUID
    code: str
    dialect: str
    signing_keys: tuple[bytes, ...]
    """Any of them may sign; empty refuses everything."""
    games: dict[str, UUID] = field(default_factory=dict)
    """Ids by slug, of every game, also the inactive ones: their rounds must settle."""


class Catalog:
    """The providers by their code, kept fresh."""

    def __init__(self, database: Database, secret_key: str) -> None:
        self.database = database
        self.providers: dict[str, Provider] = {}
        self._secret_key = secret_key
        self._version = -1
        self._refreshing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Read everything, and go on reading it in the background."""
        await self.refresh()
        self._refreshing = asyncio.create_task(self._refresh_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop reading."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    async def refresh(self) -> None:
        """Read providers and games now, if anything has changed since they were read."""
        async with self.database.connection() as connection:
            # First: what is committed while the rest is read is read again next time.
            version = await queries.catalogue_version(connection)
            if version == self._version:
                return
            providers = await queries.all_providers(connection)
            games = await queries.game_ids(connection)
        fresh = {}
        for row in providers:
            try:
                signing_keys = keys.unseal(row["signing_keys"], self._secret_key)
            except keys.UnreadableKeys as refusal:
                _log.error("a provider is refused", provider=row["code"], reason=refusal.sentence)
                signing_keys = ()
            fresh[row["code"]] = Provider(row["id"], row["code"], row["dialect"], signing_keys)
        for game in games:
            if game["provider_code"] in fresh:  # another connection may have added both between the two reads
                fresh[game["provider_code"]].games[game["slug"]] = game["id"]
        self.providers = fresh
        self._version = version

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - an old catalogue is better than none
                _log.warning("the catalogue could not be read again", error=repr(error))

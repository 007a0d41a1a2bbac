"""Apply the numbered `.sql` files, each once, each in a transaction of its own.

Two migrations at once are safe: the second waits for the first's lock and then finds nothing
to do. A file that was applied and has been changed since is refused: what runs in production
must be what the repository says.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import asyncpg

from countroom.refusal import Refusal

_LOCK: Final = 0x636F756E74  # "count": a number that nothing else in this database locks
_NAME: Final = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")


class ChangedMigration(Refusal):
    """A migration that was applied here has been changed since."""

    kind = "conflict"
    code = "changed_migration"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Hex SHA-256 of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped() -> list[Migration]:
    """Return the migrations that this version ships, in order."""
    folder = files("countroom.schema").joinpath("migrations")
    found = [
        Migration(int(match[1]), file.name, file.read_text("utf-8"))
        for file in folder.iterdir()
        if (match := _NAME.fullmatch(file.name))
    ]
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    assert len(set(numbers)) == len(numbers), "two migrations have one number"
    return found


async def pending(database_url: str) -> list[str]:
    """Return the names of what `apply` would run.

    Raises:
        ChangedMigration: an applied file differs from the shipped one.
    """
    connection = await asyncpg.connect(database_url)
    try:
        return [migration.name for migration in await _missing(connection)]
    finally:
        await connection.close()


async def apply(database_url: str) -> list[str]:
    """Run what is missing, and return the names of what was run.

    Raises:
        ChangedMigration: an applied file differs from the shipped one; nothing is run.
    """
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        applied = []
        for migration in await _missing(connection):
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                    migration.number,
                    migration.name,
                    migration.checksum,
                )
            applied.append(migration.name)
        return applied
    finally:
        await connection.close()  # and with it the lock


async def _missing(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Migration]:
    await connection.execute(
        """
        CREATE TABLE IF NOT EXISTS schema_migrations (
            number     integer PRIMARY KEY,
            name       text NOT NULL,
            checksum   text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    done = {
        row["number"]: row for row in await connection.fetch("SELECT number, name, checksum FROM schema_migrations")
    }
    missing = []
    for migration in shipped():
        row = done.get(migration.number)
        if row is None:
            missing.append(migration)
        elif row["checksum"] != migration.checksum:
            raise ChangedMigration(
                f"{row['name']} was applied to this database and has been changed since. "
                "Restore the file, and write what must change as a new migration."
            )
    return missing

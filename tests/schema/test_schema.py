"""Migrations run once, in order, safely; and the repository shows what they result in."""

import asyncio
import os
import re

import asyncpg
import pytest

from countroom.embedded.postgres import find_binaries
from countroom.schema import generate, migrate


@pytest.fixture
async def empty_database_url(database_url: str) -> str:
    """A database without anything, beside the migrated one (and dropped with it)."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP PUBLICATION countroom")
    await connection.close()
    return database_url


async def test_the_generated_schema_is_what_the_migrations_make(database_url: str) -> None:
    made = {
        "schema.sql": generate.schema_sql(database_url, find_binaries() / "pg_dump"),
        "enumerations.py": await generate.enumerations_py(database_url),
    }
    for name, text in made.items():
        file = generate.FOLDER / name
        if os.environ.get("GENERATE"):
            file.write_text(text)
        assert file.read_text() == text, f"{name} differs from the migrated database: run `make schema`"


async def test_a_dry_run_names_what_is_missing_and_changes_nothing(empty_database_url: str) -> None:
    names = await migrate.pending(empty_database_url)
    assert names == [migration.name for migration in migrate.shipped()]
    assert await migrate.pending(empty_database_url) == names
    assert await migrate.apply(empty_database_url) == names
    assert await migrate.pending(empty_database_url) == []


async def test_two_migrations_at_once_apply_each_file_once(empty_database_url: str) -> None:
    applied = await asyncio.gather(*(migrate.apply(empty_database_url) for _ in range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, len(migrate.shipped())]


async def test_a_changed_applied_file_is_refused(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE schema_migrations SET checksum = repeat('0', 64) WHERE number = 1")
    await connection.close()
    with pytest.raises(migrate.ChangedMigration, match=r"0001_specification\.sql"):
        await migrate.apply(database_url)


async def test_a_migration_that_fails_leaves_nothing_behind(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = migrate.shipped()
    bad = migrate.Migration(9999, "9999_bad.sql", "CREATE TABLE half_done (); SELECT 1/0")
    monkeypatch.setattr(migrate, "shipped", lambda: [*good, bad])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.apply(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT to_regclass('half_done')") is None
    assert await connection.fetchval("SELECT max(number) FROM schema_migrations") == good[-1].number
    await connection.close()


def test_named_constraints_say_what_they_keep() -> None:
    """PostgreSQL's own names (table_column_check) say where a constraint stands, not what it keeps."""
    text = "".join(migration.sql for migration in migrate.shipped())
    assert not re.findall(r"^\s+CHECK\b.*", re.sub(r"CONSTRAINT\s+\w+\s+(DEFERRABLE\s+)?CHECK", "", text), re.MULTILINE)

"""`countroom migrate`."""

import asyncio

from countroom.commands import console, running
from countroom.schema import migrate as migrations
from countroom.warehouse import schema as warehouse_schema


def migrate(*, dry_run: bool = False) -> int:
    """Bring PostgreSQL's and ClickHouse's schema up to date.

    Parameters
    ----------
    dry_run
        Only say what would be applied.
    """
    with running() as settings:
        assert settings.database_url
        assert settings.clickhouse_url
        if dry_run:
            names = asyncio.run(migrations.pending(settings.database_url))
            verb = "would be applied"
        else:
            names = asyncio.run(migrations.apply(settings.database_url))
            warehouse_schema.migrate(settings.clickhouse_url)
            verb = "applied"
        for name in names:
            console.print(f"{name} {verb}")
        if not names:
            console.print("PostgreSQL's schema is up to date.")
    return 0

"""`countroom check warehouse --repair`: rows that differ are sent again; what ClickHouse should not have is removed.

    remove → wait until all open transactions have ended → read the rows → send them

What is read afterwards shows every change that a removal may have taken with it: it was committed before. Until they
are sent again, those rows are missing; a row of which only amounts differ is not removed, a later version replaces it.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final

import psycopg2

from countroom import clickhouse
from countroom.events import catalog, wal
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.warehouse import moments, positions
from countroom.warehouse.dead_letters import DeadLetters
from countroom.warehouse.differences import FACTS, Difference
from countroom.warehouse.load import Loader
from countroom.warehouse.resend import resend

OPEN_SECONDS: Final = 60.0
"""How long a transaction in PostgreSQL may keep it waiting."""
REMOVED_AT_A_TIME: Final = 1_000


class RepairWaits(Refusal):
    """A transaction in PostgreSQL stays open."""

    kind = "conflict"
    code = "repair_waits"


def repair(settings: Settings, differing: Sequence[Difference]) -> int:
    """Make these rows what PostgreSQL has; return how many were sent. The pipeline may run or not.

    Raises:
        RepairWaits: a transaction that writes does not end; what was removed is missing until the next repair.
        WarehouseAwayError: ClickHouse does not answer; the same.
    """
    assert settings.database_url is not None
    assert settings.clickhouse_url is not None
    with (
        closing(psycopg2.connect(settings.database_url, options=wal.PRINTED)) as connection,
        clickhouse.connect(settings.clickhouse_url) as client,
    ):
        connection.autocommit = True
        moments.ask(connection, "SELECT pg_advisory_lock(%s)", (positions.MARTS_LOCK,))
        for facts in FACTS:
            wrong = [one.id for one in differing if one.table == facts.table and one.kind not in {"missing", "amounts"}]
            for first in range(0, len(wrong), REMOVED_AT_A_TIME):
                client.command(
                    f"ALTER TABLE {facts.events} DELETE WHERE {facts.events_id} IN {{ids:Array(UUID)}} "
                    "SETTINGS mutations_sync = 2",
                    parameters={"ids": wrong[first : first + REMOVED_AT_A_TIME]},
                )
        positions.forget_refreshes(client)
        try:
            version = moments.settled(connection, time.monotonic() + OPEN_SECONDS)
        except moments.OpenTooLongError as error:
            raise RepairWaits(f"{error} End it and repair again: what was removed is missing until then.") from error
        connection.autocommit = False
        loader = Loader(client, DeadLetters(settings.database_url).keep)
        return sum(
            resend(
                connection,
                loader,
                table,
                version=version,
                where="id = ANY(%s::uuid[])",
                arguments=([one.id for one in differing if one.table == table.name],),
            )
            for table in catalog.TABLES.values()
        )

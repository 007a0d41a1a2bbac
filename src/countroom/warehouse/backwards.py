"""A database whose log ends before what the warehouse holds of it: a restored backup, or a standby that lost the end.

Versions are positions in the log. Where the log begins again at a lower one, what changes from now on would lose
against what was loaded before, in silence. So nothing is loaded until somebody has decided.
"""

from typing import Final

from clickhouse_connect.driver.client import Client
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom.refusal import Refusal
from countroom.warehouse import positions

SLACK_BYTES: Final = 1_024
"""A position that is recorded before a copy lies a little past the last commit."""


class PositionsBackwards(Refusal):
    """The log of this database ends before what the warehouse holds of it."""

    kind = "conflict"
    code = "positions_backwards"


def refuse(connection: Connection, client: Client, slot: str) -> None:
    """Compare where the log ends with the newest position that the warehouse has of it.

    Raises:
        PositionsBackwards: the warehouse knows of later positions than PostgreSQL has written.
    """
    position = positions.read(client, slot)
    canary = client.query("SELECT max(_version) FROM canaries").result_rows[0][0]
    newest = max(canary, 0 if position is None else position.lsn)
    with connection.cursor() as cursor:
        cursor.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        row = cursor.fetchone()
    assert row is not None
    if newest > row[0] + SLACK_BYTES:
        raise PositionsBackwards(
            f"The warehouse holds changes up to {_written(newest)}, and PostgreSQL's log ends at {_written(row[0])}: "
            "it was restored from a backup, or a standby took over that had not received the end. Newer changes would "
            "lose against older ones, so nothing is loaded. Fill a new warehouse from it, as docs/pipeline.md says "
            "under 'After a restore'."
        )


def _written(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"

"""A database whose log ends before what was read of it: a restored backup, or a standby that lost the end.

Versions are positions in the log. Where the log begins again at a lower one, what changes from now on would lose
against what was read before, in silence. So nothing is carried until somebody has decided.
"""

from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom.refusal import Refusal

SLACK_BYTES: Final = 1_024
"""A position that is recorded before a copy lies a little past the last commit."""


class PositionsBackwards(Refusal):
    """The log of this database ends before what was read of it."""

    kind = "conflict"
    code = "positions_backwards"


def refuse(connection: Connection, newest: int, holder: str, way_out: str) -> None:
    """Compare where the log ends with the newest position that ``holder`` has of it; ``way_out`` says what to do.

    Raises:
        PositionsBackwards: the holder knows of later positions than PostgreSQL has written.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        row = cursor.fetchone()
    assert row is not None
    if newest > row[0] + SLACK_BYTES:
        raise PositionsBackwards(
            f"{holder} changes up to {_written(newest)}, and PostgreSQL's log ends at {_written(row[0])}: "
            "it was restored from a backup, or a standby took over that had not received the end. Newer changes would "
            f"lose against older ones, so nothing is {way_out}, as docs/pipeline.md says under 'After a restore'."
        )


def _written(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"

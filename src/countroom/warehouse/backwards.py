"""Whether the warehouse holds more of a database's log than there is (``events/backwards.py``)."""

from clickhouse_connect.driver.client import Client
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom.events import backwards
from countroom.warehouse import positions


def refuse(connection: Connection, client: Client, slot: str) -> None:
    """Compare where the log ends with the newest position that the warehouse has of it.

    Raises:
        PositionsBackwards: the warehouse knows of later positions than PostgreSQL has written.
    """
    position = positions.read(client, slot)
    canary = client.query("SELECT max(_version) FROM canaries").result_rows[0][0]
    newest = max(canary, 0 if position is None else position.lsn)
    backwards.refuse(connection, newest, "The warehouse holds", "loaded. Fill a new warehouse from it")

"""A table made anew beside the one in use, and put in its place at once.

From the moment it is there everything that lands reaches both, by a second view. What is copied lands on a table
of its own and reaches the shadow alone, by the same mapping. All of it is named after the table, with ``_rebuild``
at the end, and made from the same ``tables/*.sql``.
"""

import re
from datetime import date
from typing import Final, Literal, NamedTuple
from uuid import UUID

from clickhouse_connect.driver.client import Client

from countroom import clickhouse
from countroom.warehouse import schema

SUFFIX: Final = "_rebuild"
NOTHING: Final = UUID(int=0)

State = Literal["copying", "exchanging", "done"]


class Progress(NamedTuple):
    """How far a rebuild has come."""

    source: str
    from_day: date | None
    state: State
    copied_up_to: UUID
    rows: int
    shadow: UUID


class Shadow:
    """The shadow of the table that a topic's messages become rows of."""

    def __init__(self, client: Client, topic: str) -> None:
        self._client = client
        self.topic = topic
        self.landing = f"landing_{topic}"
        view, self.table, self._mapping = _view_onto(self.landing)
        self.copy_landing = self.landing + SUFFIX
        self.shadow = self.table + SUFFIX
        self._following = view + SUFFIX
        self._copying = self.copy_landing + "_to_shadow"

    def progress(self) -> Progress | None:
        """Return how far the last rebuild of this table has come."""
        rows = self._client.query(
            f"SELECT {', '.join(Progress._fields)} FROM rebuilds FINAL WHERE topic = {{topic:String}}",
            parameters={"topic": self.topic},
        ).result_rows
        return Progress(*rows[0]) if rows else None

    def record(self, progress: Progress) -> None:
        """Write down how far it has come."""
        self._client.insert(
            "rebuilds",
            [(self.topic, *progress)],
            column_names=["topic", *Progress._fields],
            settings=clickhouse.INSERT_SETTINGS,
        )

    def make(self) -> None:
        """Make an empty shadow, and let everything that lands from now on reach it."""
        self.remove()
        made = f"CREATE TABLE IF NOT EXISTS {self.table} ("
        [statement] = [one for one in schema.statements() if one.startswith(made)]
        for command in (
            statement.replace(made, f"CREATE TABLE {self.shadow} (", 1),
            f"CREATE MATERIALIZED VIEW {self._following} TO {self.shadow} AS {self._mapping} FROM {self.landing}",
            f"CREATE TABLE {self.copy_landing} AS {self.landing}",
            f"CREATE MATERIALIZED VIEW {self._copying} TO {self.shadow} AS {self._mapping} FROM {self.copy_landing}",
        ):
            self._client.command(command)

    def identity(self, table: str) -> UUID:
        """Return what a table keeps when it changes its name; zeros when there is none."""
        rows = self._client.query(
            "SELECT uuid FROM system.tables WHERE database = currentDatabase() AND name = {name:String}",
            parameters={"name": table},
        ).result_rows
        return rows[0][0] if rows else NOTHING

    def take_earlier(self, day_column: str, day: date) -> None:
        """Take the rows of earlier days from the table in use, as they are there."""
        columns = ", ".join(
            name
            for (name,) in self._client.query(
                "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
                " ORDER BY position",
                parameters={"table": self.shadow},
            ).result_rows
        )
        self._client.command(
            f"INSERT INTO {self.shadow} ({columns}) SELECT {columns} FROM {self.table} FINAL "
            f"WHERE {day_column} < toDateTime64({{day:String}}, 6, 'UTC')",
            parameters={"day": f"{day} 00:00:00"},
            settings=clickhouse.INSERT_SETTINGS | clickhouse.READ_SETTINGS,
        )

    def exchange(self) -> None:
        """Put the shadow in the table's place, and the table in the shadow's, at once."""
        self._client.command(f"EXCHANGE TABLES {self.table} AND {self.shadow}")

    def remove(self) -> None:
        """Remove the shadow, or the table that was in use before the exchange, and all that belongs to it."""
        # The views first: one without its target would refuse everything that lands.
        self._client.command(f"DROP VIEW IF EXISTS {self._following} SYNC")
        self._client.command(f"DROP VIEW IF EXISTS {self._copying} SYNC")
        self._client.command(f"DROP TABLE IF EXISTS {self.copy_landing} SYNC")
        self._client.command(f"DROP TABLE IF EXISTS {self.shadow} SYNC")


def _view_onto(landing: str) -> tuple[str, str, str]:
    """Return the view that reads a landing table, the table that it writes, and its mapping up to the FROM."""
    made = r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+) TO (\w+) AS\s+(.*)\sFROM\s+"
    pattern = re.compile(made + landing + "$", re.DOTALL)
    [found] = [match for statement in schema.statements() if (match := pattern.match(statement))]
    return found[1], found[2], found[3]

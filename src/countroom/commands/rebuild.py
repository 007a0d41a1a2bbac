"""`countroom rebuild`."""

from datetime import date
from typing import Annotated, Literal

import psycopg2
from clickhouse_connect.driver.exceptions import ClickHouseError
from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from urllib3.exceptions import HTTPError

from countroom.commands import console, running
from countroom.events import catalog
from countroom.warehouse import rebuild as warehouse_rebuild
from countroom.warehouse.load import WarehouseAwayError


def rebuild(
    *,
    table: Annotated[list[Literal["transactions", "game_rounds", "users"]] | None, Parameter(negative="")] = None,
    from_day: Annotated[date | None, Parameter(name="--from")] = None,
    restart: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Make the warehouse's tables anew from PostgreSQL, while everything runs, and exchange them at the end.

    What lands meanwhile is in the new tables, too. A rebuild that was broken off goes on where it was when it is
    called again. `countroom check warehouse` is the proof afterwards. See docs/pipeline.md.

    Parameters
    ----------
    table
        Which tables, by the name that they have in PostgreSQL; all of them by default.
    from_day
        Only rows of this day (UTC) and later; earlier ones stay as they are.
    restart
        Forget what a rebuild that was broken off has copied.
    """
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with running() as settings, Progress(*columns, console=console, transient=True) as bar:

        def heard(topic: str, rows: int, of: int) -> None:
            if topic not in tasks:
                tasks[topic] = bar.add_task(topic, total=of)
            bar.update(tasks[topic], completed=rows, total=max(of, rows))

        try:
            found = warehouse_rebuild.rebuild(
                settings, table or tuple(catalog.TABLES), from_day=from_day, restart=restart, heard=heard
            )
        except (psycopg2.Error, ClickHouseError, HTTPError, WarehouseAwayError) as error:
            lost = f"A store was lost: {str(error).strip().splitlines()[0][:300]}"
            console.print(
                f"{lost}\nCall `countroom rebuild` again: it goes on where it was.", style="red", markup=False
            )
            return 1
    for one in found:
        console.print(f"{one.topic:<14}{one.rows:>14,} rows  {one.seconds:>7.1f} s")
    return 0

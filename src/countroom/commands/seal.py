"""`countroom seal`."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

import cyclopts
from cyclopts import Parameter
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from countroom.commands import console, running
from countroom.postgres import Database
from countroom.settings import Settings
from countroom.wallet import seals

seal: Final = cyclopts.App(name="seal", help="Seal the journal, so that a changed past shows (docs/seals.md).")
_T = TypeVar("_T")


@seal.default
def make() -> int:
    """Seal the journal now, up to ten seconds ago. `countroom work` does it every minute.

    A journal of years is sealed in steps; who interrupts it goes on later where it was.
    """
    bar = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console)
    with running() as settings, bar:
        task = bar.add_task("sealing")

        async def work(database: Database) -> tuple[int, int]:
            made = entries = 0
            async for one in seals.make(database):
                made, entries = made + 1, entries + one.entries
                bar.update(task, description=f"sealed {entries:,} entries, up to {one.ends_at}")
            return made, entries

        made, entries = asyncio.run(_with_database(settings, work))
    if made:
        console.print(f"Sealed {entries:,} entries in {made:,} {'seals' if made > 1 else 'seal'}.")
    else:
        console.print("Everything is sealed.")
    return 0


@seal.command
def head(*, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False) -> int:
    """Print the last seal: its number, the moment up to which it goes, its entries, its hash.

    Keep that line where those who can write to the database cannot: `countroom check seals --head HASH` then
    finds a chain that was made anew.

    Parameters
    ----------
    as_json
        Print it as one JSON object.
    """
    with running() as settings:
        last = asyncio.run(_with_database(settings, seals.head))
    told = {
        "number": last.number,
        "ends_at": last.ends_at.replace(" ", "T").replace("+00", "Z"),
        "entries": last.entries,
        "hash": last.hash.hex(),
    }
    print(json.dumps(told) if as_json else " ".join(map(str, told.values())))  # noqa: T201 - what is kept elsewhere
    return 0


async def _with_database(settings: Settings, work: Callable[[Database], Awaitable[_T]]) -> _T:
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=2)
    try:
        return await work(database)
    finally:
        await database.close()

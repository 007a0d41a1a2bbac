"""`countroom refresh`."""

from datetime import date, datetime

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from countroom.commands import console, running
from countroom.marts import refresh as marts


def refresh(*, day: date | datetime | None = None) -> int:
    """Recompute the KPI marts: the days that have changed, or the one you name.

    Parameters
    ----------
    day
        A day of the reporting time zone, such as 2026-11-23.
    """
    only = day.date() if isinstance(day, datetime) else day
    with running() as settings:
        bar = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console)
        with bar:
            bar.add_task("recomputing the marts")
            days = marts.refresh(settings, only)
    console.print(f"Recomputed {', '.join(map(str, days))}." if days else "No day has changed since the last refresh.")
    return 0

"""Plant each fault in a copy of the source, run what must find it, and say what did: `make mutants`."""

import sys
import tempfile
import time
from pathlib import Path

import planting
from faults import FAULTS
from rich.console import Console
from rich.table import Table


def main() -> int:
    """Exit 1 when a fault was not found by whom it must be found."""
    table = Table(box=None, pad_edge=False)
    for title in ("fault", "check", "test", "what it says"):
        table.add_column(title, overflow="fold")
    missed = []
    began = time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else 160)
    for fault in FAULTS:
        with console.status(fault.what), tempfile.TemporaryDirectory(prefix="countroom-mutants-") as folder:
            found = planting.run(fault, Path(folder))
        if not (found.tests or found.promises) or bool(found.promises) < fault.is_seen_in_the_books:
            missed.append(fault.what)
        table.add_row(fault.what, ", ".join(found.promises) or "-", str(len(found.tests) or "-"), found.said[:160])
    console.print(table)
    console.print(
        f"{len(FAULTS) - len(missed)} of {len(FAULTS)} faults were found, in {time.monotonic() - began:.0f} s."
    )
    for what in missed:
        console.print(f"NOT FOUND: {what}", style="bold red", markup=False)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""`countroom check`."""

import asyncio

from rich.table import Table

from countroom import checks
from countroom.commands import console, running


def check() -> int:
    """Prove the promises P1 to P6 over the live stores, while everything runs.

    Prints a line a promise with the number of things compared, and the first ids at fault. Exits 1
    when a promise does not hold. P6 needs the pipeline to run: `countroom up`, or `countroom pipeline`.
    """
    with running() as settings, console.status("proving"):
        proofs = asyncio.run(checks.prove_all(settings))
    table = Table(box=None, pad_edge=False)
    for title in ("", "promise", "holds", "compared"):
        table.add_column(title, justify="right" if title == "compared" else "left")
    for proof in proofs:
        holds = "[green]yes[/]" if proof.holds else "[bold red]NO[/]"
        table.add_row(proof.promise, checks.PROMISES[proof.promise], holds, f"{proof.compared:,}")
    console.print(table)
    for proof in proofs:
        for violation in proof.violations:
            console.print(f"{proof.promise}: {violation}", style="red", markup=False, soft_wrap=True)
    return 0 if all(proof.holds for proof in proofs) else 1

"""`countroom check`."""

import asyncio
import json as json_format
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from countroom import checks
from countroom.commands import console, running
from countroom.proof import Proof
from countroom.refusal import Refusal
from countroom.warehouse import repair as warehouse_repair
from countroom.warehouse.differences import Difference
from countroom.warehouse.reconcile import DIFFERENCES_MAX


class NotBoth(Refusal):
    """Two options that exclude each other."""

    kind = "invalid"
    code = "options_exclude_each_other"


def check(
    *parts: checks.Part,
    incremental: Annotated[bool, Parameter(negative="")] = False,
    full: Annotated[bool, Parameter(negative="")] = False,
    repair: Annotated[bool, Parameter(negative="")] = False,
    head: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Prove the promises over the live stores, while everything runs.

    Alone it proves everything: `countroom check`. `countroom check books` proves P1 to P5 from PostgreSQL
    alone, `countroom check seals` that the journal is what was sealed, `countroom check warehouse` P6, for which
    the pipeline has to run (`countroom up`, or `countroom pipeline`). Parts can be combined.

    Prints a line a promise with the number of things compared and the time it took, then the first
    violations with the ids at fault. Exits 1 when a promise does not hold. Every proof becomes a row that
    the back office and the metrics show. See docs/books.md and docs/seals.md for what each finds, and what to
    do then.

    Parameters
    ----------
    parts
        What to prove; everything by default.
    incremental
        Prove the books over what is new since their last proof, and the warehouse on the days that changed, as
        `countroom work` does every minute. The first time this proves everything.
    full
        Prove everything, which is the default, and name every row of the warehouse that differs, not only the first.
    repair
        Of the warehouse: send the rows that differ again, remove what PostgreSQL does not have, and prove it anew.
    head
        A seal's hash that `countroom seal head` printed and that was kept elsewhere: it must still be in the chain.
    json
        Print one JSON object as the last line.
    """
    chosen = parts or checks.PARTS
    if incremental and (full or repair):
        raise NotBoth("--incremental looks at what is new alone: use it without --full and --repair.")
    rows_wanted = "warehouse" in chosen and (full or repair)
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
    )
    with running() as settings, bar:
        task = bar.add_task("proving")
        proofs = asyncio.run(
            checks.prove(
                settings,
                [part for part in chosen if part != "warehouse" or not rows_wanted],
                is_incremental=incremental,
                head=head,
                progress=lambda sentence: bar.update(task, description=sentence),
            )
        )
        if rows_wanted:
            bar.update(task, description="P6 row by row")
            found = asyncio.run(checks.find_differences(settings))
            _name(found.differing)
            if repair and found.differing:
                bar.update(task, description="repairing")
                sent = warehouse_repair.repair(settings, found.differing)
                console.print(f"{sent:,} rows were sent again. What the stores have now:")
                found = asyncio.run(checks.find_differences(settings))
                _name(found.differing)
            proofs = [*proofs, found.proof]
    _show(proofs)
    holds = all(proof.holds for proof in proofs)
    if json:
        print(json_format.dumps({"holds": holds, "promises": [_facts(proof) for proof in proofs]}))  # noqa: T201 - for programs
    return 0 if holds else 1


def _name(differing: Sequence[Difference]) -> None:
    for one in differing:
        console.print(one.sentence, style="red", markup=False, soft_wrap=True)
    if len(differing) >= DIFFERENCES_MAX:
        console.print("So many rows differ that not all are named: `countroom rebuild` is quicker.", style="bold red")


def _show(proofs: Sequence[Proof]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("", "promise", "holds", "compared", "seconds", "scope"):
        table.add_column(title, justify="right" if title in {"compared", "seconds"} else "left")
    for proof in proofs:
        holds = "[green]yes[/]" if proof.holds else "[bold red]NO[/]"
        table.add_row(
            proof.promise,
            checks.PROMISES[proof.promise],
            holds,
            f"{proof.compared:,}",
            "" if proof.seconds is None else f"{proof.seconds:.1f}",
            proof.scope,
        )
    console.print(table)
    for proof in proofs:
        for violation in proof.violations:
            console.print(f"{proof.promise}: {violation}", style="red", markup=False, soft_wrap=True)


def _facts(proof: Proof) -> dict[str, object]:
    return {
        "promise": proof.promise,
        "holds": proof.holds,
        "compared": proof.compared,
        "seconds": None if proof.seconds is None else round(proof.seconds, 3),
        "scope": proof.scope,
        "violations": list(proof.violations),
    }

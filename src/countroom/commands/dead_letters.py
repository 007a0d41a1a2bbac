"""`countroom dead-letters`."""

from typing import Annotated
from uuid import UUID

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from countroom.commands import console, running
from countroom.warehouse import dead_letters
from countroom.warehouse.retry import store_again

Settled = Annotated[bool, Parameter(negative="")]
Count = Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))]


def list_(*, settled: Settled = False, limit: Count = 50) -> int:
    """List the messages that could not be stored and wait for somebody, newest first.

    Parameters
    ----------
    settled
        List those that were stored after all, or discarded.
    limit
        How many at most.
    """
    with running() as settings:
        assert settings.database_url
        found = dead_letters.listed(settings.database_url, settled=settled, limit=limit)
    table = Table(box=None, pad_edge=False)
    for title in ("id", "since", "topic", "position", "outcome" if settled else "reason"):
        table.add_column(title, no_wrap=title in {"id", "since"})
    for letter in found:
        said = f"{letter.outcome} {letter.note or ''}" if settled else letter.reason
        since = f"{letter.created_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(letter.id), since, letter.topic, _place(letter), said.splitlines()[0])
    console.print(table if found else "There are none.")
    return 0


def show_(identity: UUID) -> int:
    """Show one of them whole, its body last."""
    with running() as settings:
        assert settings.database_url
        letter = dead_letters.read(settings.database_url, identity)
    for name, value in (
        ("id", letter.id), ("topic", letter.topic), ("position", _place(letter)), ("since", letter.created_at),
        ("reason", letter.reason), ("outcome", letter.outcome or "open"), ("note", letter.note or ""),
    ):  # fmt: skip
        console.print(f"{name:<10}{value}", markup=False, soft_wrap=True)
    console.print(letter.body.decode("utf-8", "backslashreplace"), markup=False, soft_wrap=True)
    return 0


def retry_(*identities: UUID) -> int:
    """Try to store messages again, after what was wrong has been put right. All open ones, unless some are named.

    Exits 1 when one of them still cannot be stored; it stays where it is.
    """
    with running() as settings:
        assert settings.database_url
        assert settings.clickhouse_url
        url = settings.database_url
        letters = [dead_letters.read(url, one) for one in identities] or dead_letters.listed(
            url, settled=False, limit=dead_letters.OPEN_MAX
        )
        refused = 0
        for letter, reason in store_again(settings.clickhouse_url, letters):
            if reason is not None:
                refused += 1
                console.print(f"{letter.id} {reason}", style="red", markup=False, soft_wrap=True)
            else:
                dead_letters.settle(url, letter.id, "stored")
                console.print(f"{letter.id} stored")
    return 1 if refused else 0


def discard_(identity: UUID, *, reason: str) -> int:
    """Write down why a message will never be stored. It stays readable, and no longer counts against the limit."""
    with running() as settings:
        assert settings.database_url
        dead_letters.settle(settings.database_url, identity, "discarded", reason.strip())
    return 0


def _place(letter: dead_letters.Letter) -> str:
    return str(letter.position) if letter.partition is None else f"{letter.partition}:{letter.position}"

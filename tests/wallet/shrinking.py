"""A history that the model cannot explain, made as small as it stays so."""

import time
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from wallet.histories import History, Step
from wallet.playing import Table

SECONDS: Final = 60.0
ATTEMPTS: Final = 3
ATTEMPTS_WHEN_RACING: Final = 40
"""Times a smaller history is played before it is taken to be right: two processes race differently each time."""
_T = TypeVar("_T")


async def shrink(table: Table, history: History, wrong: str) -> str:
    """Return what is wrong with the smallest history that can be made of this one."""
    until = time.monotonic() + SECONDS
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for smaller in _smaller(history):
            if time.monotonic() > until:
                break
            attempts = ATTEMPTS if smaller.processes == 1 else ATTEMPTS_WHEN_RACING
            found = next(filter(None, await table.play([smaller] * attempts)), None)
            if found is not None:
                history, wrong, is_smaller = smaller, found, True
                break
    return wrong


def _smaller(history: History) -> Iterator[History]:
    for steps in _without(history.steps):
        yield history._replace(steps=steps)
    for number, step in enumerate(history.steps):
        for changed in _smaller_steps(step):
            yield history._replace(steps=(*history.steps[:number], changed, *history.steps[number + 1 :]))
    if history.processes > 1:
        yield history._replace(processes=1)


def _smaller_steps(step: Step) -> Iterator[Step]:
    if step.crash_after_ms is not None:
        yield step._replace(crash_after_ms=None)
    if len(step.calls) > 1:
        for calls in _without(step.calls):
            yield step._replace(calls=calls)
    for number, call in enumerate(step.calls):
        around = step.calls[:number], step.calls[number + 1 :]
        changes = [call._replace(copies=call.copies - 1)] if call.copies > 1 else []
        if len(call.operations) > 1:
            changes += [call._replace(operations=operations) for operations in _without(call.operations)]
        if call.closes:
            changes.append(call._replace(closes=False))
        for change in changes:
            yield step._replace(calls=(*around[0], change, *around[1]))


def _without(items: Sequence[_T]) -> Iterator[tuple[_T, ...]]:
    """Give the sequence without each half, quarter and so on of it, large pieces first."""
    size = len(items)
    while size:
        for begin in range(0, len(items), size):
            if size < len(items) or len(items) == 1:
                yield (*items[:begin], *items[begin + size :])
        size //= 2

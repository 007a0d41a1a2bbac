"""Random histories of the wallet: what one player's callers ask, several of them at once."""

import itertools
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from countroom.wallet import commands as c
from wallet import model

PAYMENT: Final = UUID(int=1)
AT_ONCE_MAX: Final = 3
"""Calls under way at once, each with its copies."""


class Call(NamedTuple):
    """A command as a caller sends it: amounts in the currency's unit, names that are this history's own."""

    operations: tuple[c.Operation, ...]
    currency: str = "EUR"
    round: str = "r1"
    closes: bool = False
    needs_round: bool = False
    copies: int = 1
    """So many callers send it at once."""
    is_strangers: bool = False
    """Sent for another player, who has money of his own."""


class Step(NamedTuple):
    """Calls that are under way at once."""

    calls: tuple[Call, ...]
    crash_after_ms: int | None = None
    """PostgreSQL ends the batchers' connections so long after the calls were sent."""


class History(NamedTuple):
    """What one player, and now and then a stranger, ask."""

    steps: tuple[Step, ...]
    main: int = 100
    bonus: int = 50
    processes: int = 1


# What is asked: a draw is a choice from a list, so that drawing costs little and shrinks towards its head.


def _operations() -> Iterator[tuple[int, c.Operation]]:
    """Give every operation with its weight."""
    amounts = [Decimal(n) for n in (1, 2, 3, 7, 10, 25, 50, 99, 150)]
    bad = [Decimal(0), Decimal(-5), Decimal("0.1"), Decimal("NaN"), Decimal("Infinity"), model.MOST * 1000]
    for n, amount in itertools.product(range(1, 5), amounts):
        yield 6, c.Bet(f"b{n}", amount)
        yield 5, c.Win(f"w{n}", amount)
    for n, target in itertools.product(range(1, 4), ("b1", "b2", "b3", "b4", "w1", "w2", "w3", "w4")):
        yield 8, c.Reverse(f"x{n}{target}", target)
    for n, target in itertools.product(range(1, 3), ("b1", "w1", "x1b1", "d1", "o1", "g1", "e1", "never")):
        yield 3, c.Reverse(f"x{n}", target)
    for amount, fee in itertools.product(amounts, (0, 1, 7)):
        yield 3, c.Deposit(f"d{fee}", amount, PAYMENT, Decimal(fee))
        yield 5, c.Withdraw(f"o{fee}", amount, PAYMENT, Decimal(fee))
    for n, target, outcome in itertools.product(
        (1, 2), ("o0", "o1", "o7", "d1", "never"), ("settled", "failed", "cancelled")
    ):
        yield 6, c.Conclude(f"e{n}{target}", target, outcome)  # type: ignore[arg-type]
    for n, amount in itertools.product((1, 2), amounts):
        yield 2, c.Grant(f"g{n}", amount)
        yield 2, c.Convert(f"v{n}", amount)
        yield 1, c.Forfeit(f"f{n}", amount, "expired" if n == 2 else "forfeited")
        yield 2, c.Adjust(f"a{n}", amount)
        yield 2, c.Adjust(f"a{n}", -amount, "bonus" if n == 2 else "main")
        yield 1, c.Bet(f"b{n}", amount, moves_money=False, award="free")
        yield 2, c.Win(f"w{n}", amount, moves_money=False, award="free")
        yield 1, c.Win(f"w{n}", amount, award="jackpot")
        # A key of one operation used for another.
        yield 1, c.Bet(f"w{n}", amount)
        yield 1, c.Grant(f"x{n}b1", amount)
        yield 1, c.Reverse(f"b{n}", f"b{3 - n}")
    for amount in bad:
        yield 3, c.Bet("b1", amount)
        yield 3, c.Adjust("a1", amount)
        yield 3, c.Deposit("d1", Decimal(5), PAYMENT, amount or Decimal(5))
    for key in ("", "b1/bonus", "b1/receivable", "b" * 200, "b\n", "\\\"'{},NULL é", "NULL"):
        yield 3, c.Win(key, Decimal(1))
    yield 10, c.Deposit("d2", model.MOST * 100, PAYMENT)
    yield 10, c.Grant("g3", model.MOST * 100)
    yield 10, c.Adjust("a3", model.MOST * -100)


_OPERATIONS: Final = [operation for weight, operation in _operations() for _ in range(weight)]
_operation = st.sampled_from(_OPERATIONS)
_one = st.tuples(_operation)
_ROUNDS: Final = (
    *[("EUR", "r1", False, False)] * 12,
    *[("EUR", "r2", False, False)] * 6,
    *[("EUR", "r1", True, False)] * 2,
    *[("JPY", "r3", False, False)] * 5,
    ("EUR", "r3", False, True),
    ("JPY", "r3", True, False),
    ("JPY", "r1", False, False),
    ("EUR", "\\\"'{},NULL", False, False),
    ("EUR", "r4", False, True),
    ("USD", "r1", False, False),
    ("XXX", "r1", False, False),
)
"""Where calls play: currency, round, whether it is closed then, whether a win needs it to be there."""


class _Frame(NamedTuple):
    """Everything about a call but its operations."""

    round: tuple[str, str, bool, bool]
    copies: int
    is_strangers: bool
    is_joined: bool
    """At once with the call before it."""
    crash_after_ms: int | None
    back: int
    """The call before so many others is sent again, instead; 0: a new call."""


def _frames(count: int) -> Iterator[_Frame]:
    chance = random.Random("frames")  # noqa: S311 - a dice, not a secret
    for _ in range(count):
        yield _Frame(
            chance.choice(_ROUNDS),
            chance.choice((1, 1, 1, 1, 1, 1, 2, 3)),
            chance.random() < 0.04,
            chance.random() < 0.5,
            chance.choice((0, 1, 2, 4)) if chance.random() < 0.015 else None,
            chance.randint(1, 9) if chance.random() < 0.2 else 0,
        )


def _spelled_out(drawn: Sequence[tuple[_Frame, Sequence[c.Operation]]]) -> tuple[Step, ...]:
    """Make steps of what was drawn."""
    before: list[Call] = []
    steps: list[Step] = []
    for frame, operations in drawn:
        call = Call(tuple(operations), *frame.round, frame.copies, frame.is_strangers)
        if frame.back and before:
            call = before[-frame.back % len(before)]._replace(copies=frame.copies)
        before.append(call)
        if frame.is_joined and steps and len(steps[-1].calls) < AT_ONCE_MAX:
            steps[-1] = Step((*steps[-1].calls, call), steps[-1].crash_after_ms)
        else:
            steps.append(Step((call,), frame.crash_after_ms))
    return tuple(steps)


histories: Final = st.builds(
    lambda calls, money, processes: History(_spelled_out(calls), money[0], money[1], processes),
    st.lists(
        st.tuples(
            st.sampled_from(list(_frames(2_000))),
            st.one_of(*[_one] * 3, st.tuples(_operation, _operation), st.lists(_operation, max_size=4)),
        ),
        min_size=4,
        max_size=25,
    ),
    st.sampled_from([(100, 50), (0, 0), (1000, 0), (0, 300), (3, 3)]),
    st.sampled_from((1, 1, 2)),
)

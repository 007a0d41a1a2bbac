"""The short way of plain bets and wins leaves exactly what the ledger's long way leaves."""

import uuid
from dataclasses import asdict
from decimal import Decimal
from itertools import count
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from countroom.money import AMOUNT_MAX, ZERO
from countroom.wallet import plain
from countroom.wallet.commands import Answer, Bet, Command, Operation, Play, Reverse, Win
from countroom.wallet.refusals import WalletRefusal
from countroom.wallet.rules import Ledger
from countroom.wallet.state import Facts, Player, Purse, Session, Wallet
from wallet.test_rules import GAME, MOMENT, PLAYERS

amounts = st.one_of(
    st.integers(1, 2_000).map(lambda cents: Decimal(cents) / 100),
    st.sampled_from([AMOUNT_MAX, AMOUNT_MAX - 1, AMOUNT_MAX / 2]).map(lambda amount: amount.quantize(ZERO)),
)
keys = st.integers(0, 30).map("k{}".format)
free = {"moves_money": st.sampled_from([True, True, True, False]), "award": st.sampled_from(["", "", "", "spins"])}
operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Bet, keys, amounts, **free),
    st.builds(Bet, keys, amounts),
    st.builds(Win, keys, amounts, **free),
    st.builds(Win, keys, amounts),
    st.builds(Reverse, keys, keys),
)
commands = st.builds(
    lambda player, currency, asked, round_key, session, close: Command(
        "s", player, currency, tuple(asked), Play(GAME, round_key, session, close)
    ),
    st.sampled_from(PLAYERS),
    st.sampled_from(["EUR"] * 8 + ["USD", "SEK"]),
    st.one_of(operations.map(lambda one: [one]), st.lists(operations, max_size=3)),
    st.sampled_from(["r1", "r2", "r3", "r4"]),
    st.sampled_from([None, None, None, uuid.UUID(int=1), uuid.UUID(int=99)]),
    st.booleans(),
)
balances = st.sampled_from(["0.00", "5.00", "500.00", str(AMOUNT_MAX), str(AMOUNT_MAX - 5)]).map(Decimal)


class Start(NamedTuple):
    """How every player begins."""

    main: Decimal
    bonus: Decimal
    owed: Decimal
    status: str
    is_open: bool


starts = st.builds(
    Start,
    balances,
    st.one_of(st.just(ZERO), balances),
    st.sampled_from(["0.00", "0.00", "3.00"]).map(Decimal),
    st.sampled_from(["active"] * 5 + ["blocked"]),
    st.sampled_from([True, True, True, False]),
)


def ledger(start: Start) -> Ledger:
    numbers = count(1000)
    facts = Facts()
    for player in PLAYERS:
        session = Session(uuid.UUID(int=1), "EUR", start.is_open)
        purse = Purse(
            Wallet(uuid.UUID(int=next(numbers)), player, "EUR", "main", start.main, 7, start.owed),
            Wallet(uuid.UUID(int=next(numbers)), player, "EUR", "bonus", start.bonus, 3),
            None,
            12,
        )
        sessions = {(GAME, None): session, (GAME, uuid.UUID(int=1)): session}
        facts.players[player, "EUR"] = Player(purse, start.status, sessions)
        facts.players[player, "USD"] = None
    return Ledger(facts, moment=MOMENT, new_id=lambda: uuid.UUID(int=next(numbers)))


def outcome(way: Ledger, command: Command, *, long: bool) -> Answer | tuple[str, Decimal | None]:
    try:
        return way.decide(command) if long else way.apply(command)
    except WalletRefusal as refusal:
        return refusal.code, refusal.balance


@settings(max_examples=400, deadline=None)
@given(start=starts, asked=st.lists(commands, min_size=1, max_size=25))
def test_the_short_way_answers_and_leaves_what_the_long_way_does(start: Start, asked: list[Command]) -> None:
    short, long = ledger(start), ledger(start)
    for command in asked:
        assert outcome(short, command, long=False) == outcome(long, command, long=True)
        assert asdict(short.writes) == asdict(long.writes)
        assert short.facts == long.facts


def test_bets_and_wins_of_every_day_take_the_short_way() -> None:
    books = ledger(Start(Decimal("50.00"), ZERO, ZERO, "active", is_open=True))
    for number in range(10):
        for operation in (Bet(f"b{number}", Decimal("1.00")), Win(f"w{number}", Decimal("0.50"))):
            play = Play(GAME, f"round{number}", None, close_round=isinstance(operation, Win))
            command = Command("s", PLAYERS[0], "EUR", (operation,), play)
            assert plain.post(command, books.facts, books.writes, moment=MOMENT, new_id=books.new_id) is not None

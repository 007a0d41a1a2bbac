"""The short way of plain bets and wins leaves exactly what the ledger's long way leaves."""

import copy
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from itertools import count
from typing import NamedTuple

import msgspec
import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from casino import MONEY, Casino
from countroom import clock
from countroom.money import AMOUNT_MAX, ZERO
from countroom.pipelined import Parameter, encoded
from countroom.wallet import plain, queries, writing
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
            7,
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
        assert {**asdict(short.writes), "is_plain": False} == asdict(long.writes) | {"is_plain": False}
        assert short.facts == long.facts


def test_bets_and_wins_of_every_day_take_the_short_way() -> None:
    books = ledger(Start(Decimal("50.00"), ZERO, ZERO, "active", is_open=True))
    for number in range(10):
        for operation in (Bet(f"b{number}", Decimal("1.00")), Win(f"w{number}", Decimal("0.50"))):
            play = Play(GAME, f"round{number}", None, close_round=isinstance(operation, Win))
            command = Command("s", PLAYERS[0], "EUR", (operation,), play)
            assert plain.post(command, books.facts, books.writes, moment=MOMENT, new_id=books.new_id) is not None


def written(database_url: str, books: Ledger) -> list[str]:
    """What stands in the tables after a pass, which is then taken back.

    Left out are moments of the database's clock, and versions, which plain bets and wins leave as they are.
    """
    tables = ", ".join(f"(SELECT array_agg(to_jsonb(t) ORDER BY t)::text[] FROM {table} t)" for table in MONEY)
    with psycopg.connect(database_url) as connection:
        sql, parameters = writing.PLAIN_FROM_MEMORY, writing.plain_parameters(books.writes, books.moment)
        if not books.writes.is_plain:
            everything: list[Parameter] = [*writing._arguments(copy.deepcopy(books.writes))]
            sql, parameters = writing._WRITE_FROM_MEMORY, [books.moment.isoformat(), *everything]
        values, formats = encoded(parameters)
        connection.execute("SELECT")  # begins the transaction
        done = connection.pgconn.exec_params(sql.encode(), values, param_formats=formats)
        assert done.status == psycopg.pq.ExecStatus.TUPLES_OK, done.error_message
        found = connection.execute(f"SELECT {tables}").fetchone()
        connection.rollback()
    assert found is not None
    rows = [(table, msgspec.json.decode(row)) for table, of in zip(MONEY, found, strict=True) for row in of or []]
    for _, row in rows:
        new = {name for name in ("created_at", "processed_at", "opened_at", "closed_at") if row.get(name)}
        row.update(dict.fromkeys(new, "then"))
        row.pop("version", None)
    return sorted(f"{table} {msgspec.json.encode(row).decode()}" for table, row in rows)


async def decided(casino: Casino, asked: Sequence[Command]) -> Ledger:
    facts = Facts()
    async with casino.database.connection() as connection:
        await queries.read_facts(connection, asked, facts)
    books = Ledger(facts, moment=clock.now(), new_id=clock.new_id)
    for command in asked:
        books.apply(command)
    return books


async def test_the_statement_for_plain_bets_and_wins_writes_what_that_for_everything_does(
    casino: Casino, database_url: str
) -> None:
    players = [await casino.player(main="100.00", bonus=bonus) for bonus in ("0", "5.00", "0")]
    for number, player in enumerate(players):
        await player.bet("1.00", f"before{number}", round_key=f"round {number}")
    first, second, third = players
    asked = [
        first.command(Bet("b1", Decimal("0.50")), round_key='a "new" one'),
        second.command(Win("w1", Decimal("2.50")), round_key="round 1", close=True),
        first.command(Bet("b2", Decimal("0.25")), round_key="another"),
        third.command(Bet("b3", Decimal(3)), round_key="round 2"),
        first.command(Win("w2", Decimal("0.75")), round_key="round 0"),
    ]

    books = await decided(casino, asked)
    assert books.writes.is_plain
    short = written(database_url, books)
    books.writes.is_plain = False

    assert short == written(database_url, books)
    assert len(short) == len(await casino.everything()) + 2 * len(asked) + 2


async def test_a_pass_is_plain_while_each_new_round_is_one_bet(casino: Casino) -> None:
    player, other = [await casino.player(main="100.00") for _ in range(2)]
    bet, beside = player.command(Bet("b1", Decimal(1))), other.command(Bet("b2", Decimal(1)), round_key="theirs")
    assert (await decided(casino, [bet, beside])).writes.is_plain
    for more in (
        player.command(Win("w", Decimal(1))),
        player.command(Bet("b3", Decimal(1))),
        player.command(close=True),
        player.command(Bet("b3", Decimal(1)), round_key="r2", close=True),
        player.command(Reverse("x", "b1")),
        player.command(Bet("b3", Decimal(1)), Bet("b4", Decimal(1)), round_key="r2"),
    ):
        assert not (await decided(casino, [bet, beside, more])).writes.is_plain, more

"""What no sequence of commands can break, and how a win is split."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from countroom.money import AMOUNT_MAX, ZERO
from countroom.wallet.commands import Answer, Bet, Command, Play, Reverse, Win
from countroom.wallet.play import split_win
from countroom.wallet.refusals import WalletRefusal
from countroom.wallet.rules import Ledger
from countroom.wallet.state import Facts, Player, Purse, Session, Wallet

GAME = uuid.UUID(int=7)
PLAYERS = [uuid.UUID(int=100 + n) for n in range(2)]
MOMENT = datetime(2026, 11, 23, tzinfo=UTC)

cents = st.integers(1, 2000).map(lambda n: Decimal(n) / 100)
keys = st.integers(0, 9).map("k{}".format)
operations = st.one_of(
    st.builds(Bet, keys, cents),
    st.builds(Win, keys, cents),
    st.builds(Reverse, st.integers(0, 9).map("x{}".format), keys),
)
commands = st.builds(
    lambda player, ops, round_key, close: Command("s", player, "EUR", tuple(ops), Play(GAME, round_key, None, close)),
    st.sampled_from(PLAYERS),
    st.lists(operations, min_size=1, max_size=3),
    st.sampled_from(["r1", "r2", "r3"]),
    st.booleans(),
)


def ledger(main: Decimal, bonus: Decimal) -> Ledger:
    numbers = count(1000)
    facts = Facts()
    for player in PLAYERS:
        session = Session(uuid.UUID(int=next(numbers)), "EUR", is_open=True)
        main_wallet, bonus_wallet, locked = (
            Wallet(uuid.UUID(int=next(numbers)), player, "EUR", kind, balance, 0)
            for kind, balance in (("main", main), ("bonus", bonus), ("locked", ZERO))
        )
        purse = Purse(main_wallet, bonus_wallet, locked, 0, main_wallet.sequence)
        facts.players[player, "EUR"] = Player(purse, "active", {(GAME, None): session})
    return Ledger(facts, moment=MOMENT, new_id=lambda: uuid.UUID(int=next(numbers)))


def wallets(of: Ledger) -> list[Wallet]:
    purses = [player.purse for player in of.facts.players.values() if player is not None]
    return [wallet for purse in purses for wallet in (purse.main, purse.bonus)]


def balances(of: Ledger) -> dict[object, Decimal]:
    return {wallet.id: wallet.balance for wallet in wallets(of)}


@settings(max_examples=300, deadline=None)
@given(main=cents, bonus=st.one_of(st.just(ZERO), cents), asked=st.lists(commands, min_size=1, max_size=25))
def test_no_sequence_of_commands_breaks_the_books(main: Decimal, bonus: Decimal, asked: list[Command]) -> None:
    books = ledger(main, bonus)
    start = balances(books)
    for command in asked:
        before, entries = balances(books), len(books.writes.entries)
        try:
            answer = books.apply(command)
        except WalletRefusal:
            assert (balances(books), len(books.writes.entries)) == (before, entries)  # P5
            continue
        again = books.apply(command)
        assert again.operations == answer.operations  # P2
        assert not answer.repeated or balances(books) == before

    by_wallet: dict[uuid.UUID, list[Decimal]] = {}
    for entry in books.writes.entries:  # P1, P3
        line = by_wallet.setdefault(entry.wallet_account_id, [])
        line.append(entry.amount)
        assert entry.sequence == len(line)
        assert entry.balance_after >= 0
    for wallet in wallets(books):
        assert wallet.balance == start[wallet.id] + sum(by_wallet.get(wallet.id, []))

    effective = [s.target_external_id for s in books.writes.tombstones if s.outcome != "repeated"]
    assert len(effective) == len(set(effective))  # P4
    standing: dict[uuid.UUID | None, Decimal] = {}
    for row in books.writes.rows:
        if row.status == "success" and row.type == "bet":
            standing[row.game_round_id] = standing.get(row.game_round_id, ZERO) + row.amount
    for round_ in books.facts.rounds.values():
        assert round_.bet_amount == standing.get(round_.id, ZERO)
        assert 0 <= round_.bonus_bet_amount <= round_.bet_amount


@given(amount=cents, bet=cents, bonus_share=st.integers(0, 100), smallest=st.sampled_from(["0.01", "1"]))
def test_a_win_is_split_to_the_last_unit(amount: Decimal, bet: Decimal, bonus_share: int, smallest: str) -> None:
    least = Decimal(smallest)
    amount, bet = amount.quantize(least) + least, bet.quantize(least) + least
    bonus_bet = (bet * bonus_share / 100).quantize(least)
    main, bonus = split_win(amount, bet=bet, bonus_bet=bonus_bet, smallest=least)
    assert main + bonus == amount
    assert min(main, bonus) >= 0
    assert main % least == bonus % least == 0
    assert abs(main * bet - amount * (bet - bonus_bet)) <= bet * least


def test_a_wallet_refuses_more_than_it_can_hold() -> None:
    books = ledger(AMOUNT_MAX, ZERO)
    command = Command("s", PLAYERS[0], "EUR", (Win("k1", Decimal("0.01")),), Play(GAME, "r1"))
    try:
        outcome: Answer | str = books.apply(command)
    except WalletRefusal as refusal:
        outcome = refusal.code
    assert outcome == "balance_limit"
    assert not books.writes.purses

"""What no wallet can do: each is refused by name, moves nothing, and is refused alike when it comes again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from casino import Casino, Player
from countroom import clock
from countroom.games import service as games
from countroom.money import AMOUNT_MAX, Money
from countroom.refusal import Refusal
from countroom.wallet import service
from countroom.wallet.batch import post
from countroom.wallet.commands import (
    Adjust,
    Answer,
    Bet,
    Command,
    Conclude,
    Convert,
    Deposit,
    Forfeit,
    Grant,
    Operation,
    Outcome,
    Play,
    Reverse,
    Win,
    Withdraw,
)

PAYMENT = clock.new_id()
KINDS: dict[str, Callable[[str, Decimal], Operation]] = {
    "bet": Bet,
    "win": Win,
    "free bet": lambda key, amount: Bet(key, amount, moves_money=False),
    "free win": lambda key, amount: Win(key, amount, moves_money=False),
    "deposit": lambda key, amount: Deposit(key, amount, PAYMENT),
    "deposit's fee": lambda key, amount: Deposit(key, Decimal(5), PAYMENT, fee=amount),
    "withdrawal": lambda key, amount: Withdraw(key, amount, PAYMENT),
    "withdrawal's fee": lambda key, amount: Withdraw(key, Decimal(1), PAYMENT, fee=amount),
    "grant": Grant,
    "conversion": Convert,
    "forfeit": Forfeit,
    "adjustment": Adjust,
}
AMOUNTS = (
    "0", "0.00", "-0", "-1", "-0.01", "0.001", "1.005", "1.0000000000000000000000000000000000001", "1E-30", "1E+16",
    "10000000000000000.00", "99999999999999999999.99", "1E+100000", "NaN", "-NaN", "sNaN", "Infinity", "-Infinity",
)  # fmt: skip
KEYS = (
    "", "x" * 201, "line\nbreak", "nul\x00", "tab\t", "half\ud800", "zero\u200bwidth", "k/bonus", "k/receivable",
    "k/repayment", "k/receivable/bonus", "/bonus",
)  # fmt: skip


def admits(kind: str, amount: str) -> bool:
    """No fee is a fee of zero, a free round may win nothing, and a correction by hand may take."""
    if kind.endswith("fee") or kind.startswith("free"):
        return amount in {"0", "0.00", "-0"}
    return kind == "adjustment" and amount in {"-1", "-0.01"}


@dataclass
class Told:
    """A refusal as its caller sees it."""

    code: str
    kind: str
    sentence: str
    field: str | None
    balance: Decimal | None


async def told(attempt: Callable[[], Awaitable[object]]) -> Told:
    with pytest.raises(Refusal) as refused:
        await attempt()
    value = refused.value
    return Told(value.code, value.kind, value.sentence, value.field, getattr(value, "balance", None))


async def within(casino: Casino, command: Command) -> Answer:
    """Apply a command inside a transaction of the caller's, as payments and staff do."""
    async with casino.database.transaction() as tx:
        (outcome,) = (await post(tx, [command])).outcomes
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome


async def refused(casino: Casino, command: Command, code: str, field: str | None = None) -> None:
    """The command is refused so, through both doors and again; nothing whatsoever has changed."""
    before = await casino.everything()
    first = await told(lambda: casino.batcher.submit(command))
    assert (first.code, first.field) == (code, field), command
    assert await told(lambda: casino.batcher.submit(command)) == first
    assert await told(lambda: within(casino, command)) == first
    assert await casino.everything() == before


async def test_what_is_no_amount_is_refused_for_every_operation(casino: Casino) -> None:
    player = await casino.player(main="10.00", bonus="10.00")
    for kind, make in KINDS.items():
        for amount in AMOUNTS:
            if not admits(kind, amount):
                field = "fee" if kind.endswith("fee") else "amount"
                await refused(casino, player.command(make("k1", Decimal(amount))), "invalid_operation", field)
    for amount in ("-0.001", "-1E+16", "-sNaN"):
        await refused(casino, player.command(Adjust("k1", Decimal(amount))), "invalid_operation", "amount")


async def test_half_a_yen_is_no_amount(casino: Casino) -> None:
    player = await casino.player(main="10", bonus="10", currency="JPY")
    for kind, make in KINDS.items():
        field = "fee" if kind.endswith("fee") else "amount"
        for amount in ("0.5", "0.01", "1.50"):
            await refused(casino, player.command(make("k1", Decimal(amount))), "invalid_operation", field)


async def test_a_fee_takes_less_than_the_deposit_that_it_is_for(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    for fee in ("5.00", "5.01"):
        command = player.command(Deposit("k1", Decimal(5), PAYMENT, fee=Decimal(fee)))
        await refused(casino, command, "invalid_operation", "fee")


async def test_a_key_is_printable_short_and_has_none_of_our_endings(casino: Casino) -> None:
    player = await casino.player(main="10.00", bonus="10.00")
    for key in KEYS:
        for make in KINDS.values():
            await refused(casino, player.command(make(key, Decimal(1))), "invalid_operation", "key")
        await refused(casino, player.command(Reverse(key, "t")), "invalid_operation", "key")
        await refused(casino, player.command(Reverse("k", key)), "invalid_operation", "target")
        await refused(casino, player.command(Conclude(key, "t", "settled")), "invalid_operation", "key")
        await refused(casino, player.command(Conclude("k", key, "settled")), "invalid_operation", "target")
    assert (await player.bet("1.00", key="\u20ac" * 200)).balance == Decimal("19.00")


async def test_a_rounds_name_and_an_awards_are_as_short_and_printable_as_a_key(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    for name in ("", "x" * 201, "nul\x00", "half\ud800"):
        await refused(casino, player.command(Bet("k", Decimal(1)), round_key=name), "invalid_operation", "round")
        await refused(casino, player.command(round_key=name, close=True), "invalid_operation", "round")
        if name:
            for operation in (
                Bet("k", Decimal(1), award=name),
                Win("k", Decimal(1), award=name),
                Grant("k", Decimal(1), name),
            ):
                await refused(casino, player.command(operation), "invalid_operation", "award")


async def test_unknown_players_and_wallets_are_told_apart(casino: Casino) -> None:
    player, stranger = await casino.player(main="10.00"), await casino.player(main="10.00")
    stranger.id = clock.new_id()
    for make in KINDS.values():
        await refused(casino, stranger.command(make("k", Decimal(1))), "unknown_player")
    for currency in ("USD", "JPY", "KWD", "XXX", "eur", ""):
        player.currency = currency
        for make in KINDS.values():
            await refused(casino, player.command(make("k", Decimal(1))), "wrong_currency", "currency")


async def scene(casino: Casino) -> tuple[Player, Player]:
    """A player with something of everything, and another one."""
    player = await casino.player(main="50.00", bonus="5.00")
    other = await casino.player(main="50.00")
    await player.bet("3.00", key="bet", round_key="r1")
    await player.win("2.00", key="win", round_key="r1")
    await player.bet("1.00", key="reversed", round_key="r2")
    await player.reverse("reversed", key="reversal", round_key="r2")
    await player.reverse("unseen", key="early", round_key="r2")
    await player.apply(Bet("settled-bet", Decimal(1)), round_key="r3", close=True)
    amount = Decimal(4)
    for operation in (
        Deposit("deposit", amount, PAYMENT), Grant("grant", amount), Adjust("adjustment", amount),
        Withdraw("pending", amount, PAYMENT), Withdraw("settled", amount, PAYMENT), Withdraw("failed", amount, PAYMENT),
        Withdraw("cancelled", amount, PAYMENT), Conclude("settled-end", "settled", "settled"),
        Conclude("failed-end", "failed", "failed"), Conclude("cancelled-end", "cancelled", "cancelled"),
    ):  # fmt: skip
        await casino.batcher.submit(Command("sandbox", player.id, "EUR", (operation,)))
    return player, other


async def test_only_a_players_own_bets_and_wins_are_reversed(casino: Casino) -> None:
    player, other = await scene(casino)
    for target in (
        "reversal", "early", "deposit", "grant", "adjustment", "pending", "settled", "failed", "cancelled",
        "settled-end",
    ):  # fmt: skip
        await refused(casino, player.command(Reverse("x", target)), "not_reversible")
    for target in ("bet", "win", "reversed", "settled-bet", "deposit", "pending", "settled"):
        await refused(casino, other.command(Reverse("x", target), round_key="r9"), "not_reversible")
    async with casino.database.transaction() as tx:
        await service.open_wallets(tx, player.id, "USD")
    player.currency = "USD"
    await refused(casino, player.command(Reverse("x", "bet"), round_key="r9"), "not_reversible")
    await refused(casino, player.command(Reverse("x", "reversed"), round_key="r9"), "not_reversible")


async def test_a_reversal_within_its_command_is_not_reversed_either(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await refused(
        casino, player.command(Bet("b", Decimal(1)), Reverse("x", "b"), Reverse("y", "x")), "not_reversible"
    )  # fmt: skip


async def test_a_round_is_known_and_the_players_own(casino: Casino) -> None:
    player, other = await scene(casino)
    win = Win("w", Decimal(1))
    needy = Play(casino.game_id, "never", player.session_id, win_needs_round=True)
    await refused(casino, Command("sandbox", player.id, "EUR", (win,), needy), "round_not_found")
    await refused(casino, player.command(round_key="never", close=True), "round_not_found")
    for operations in ((win,), (Bet("b", Decimal(1)),), (Reverse("x", "t"),), ()):
        await refused(casino, other.command(*operations, round_key="r1", close=True), "foreign_round")
    await refused(casino, player.command(Bet("b", Decimal(1)), round_key="r3"), "round_closed")


async def test_a_withdrawal_ends_once_and_by_its_own_player(casino: Casino) -> None:
    player, other = await scene(casino)
    outcomes: tuple[Outcome, ...] = ("settled", "failed", "cancelled")
    for ended in outcomes:
        for outcome in outcomes:
            await refused(casino, player.command(Conclude("z", ended, outcome)), "withdrawal_concluded")
    for target in ("never", "bet", "reversal", "deposit", "settled-end", "unseen"):
        await refused(casino, player.command(Conclude("z", target, "settled")), "withdrawal_not_found")
    for target in ("pending", "settled"):
        await refused(casino, other.command(Conclude("z", target, "cancelled"), round_key="r9"), "withdrawal_not_found")

    before = await casino.everything()
    again = await player.apply(Conclude("settled-end", "settled", "settled"))
    assert again.repeated
    assert await casino.everything() == before
    await refused(casino, player.command(Conclude("settled-end", "settled", "cancelled")), "key_conflict")
    await refused(casino, player.command(Conclude("pending", "pending", "settled")), "key_conflict")


async def test_a_used_key_says_what_it_said_before_or_is_refused(casino: Casino) -> None:
    player, other = await scene(casino)
    used = ("bet", "win", "reversed", "reversal", "early", "deposit", "grant", "adjustment", "pending", "settled-end")
    for key in used:
        for make in KINDS.values():
            await refused(casino, player.command(make(key, Decimal("1.23"))), "key_conflict")
        await refused(casino, player.command(Reverse(key, "something else")), "key_conflict")
        await refused(casino, player.command(Conclude(key, "something else", "settled")), "key_conflict")
    await refused(casino, other.command(Bet("bet", Decimal(3)), round_key="r9"), "key_conflict")
    await refused(casino, other.command(Reverse("reversal", "reversed"), round_key="r9"), "key_conflict")


async def test_no_wallet_pays_what_it_does_not_hold(casino: Casino) -> None:
    player = await casino.player(main="10.00", bonus="5.00")
    for operation in (
        Bet("k", Decimal("15.01")), Withdraw("k", Decimal("10.01"), PAYMENT),
        Withdraw("k", Decimal(10), PAYMENT, fee=Decimal("0.01")), Convert("k", Decimal("5.01")),
        Forfeit("k", Decimal("5.01")), Forfeit("k", Decimal("5.01"), "expired"), Adjust("k", Decimal("-10.01")),
        Adjust("k", Decimal("-5.01"), "bonus"), Withdraw("k", AMOUNT_MAX, PAYMENT, fee=AMOUNT_MAX),
    ):  # fmt: skip
        await refused(casino, player.command(operation), "insufficient_funds")


# What a column holds ---------------------------------------------------------------------


async def test_a_wallet_may_hold_what_its_column_holds_and_no_cent_more(casino: Casino) -> None:
    player = await casino.player(main=str(AMOUNT_MAX))
    assert await player.balance() == AMOUNT_MAX
    cent = Decimal("0.01")
    for operation in (Win("k", cent), Deposit("k", cent, PAYMENT), Grant("k", cent), Adjust("k", cent)):
        await refused(casino, player.command(operation), "balance_limit")
    await refused(casino, player.command(Bet("b", cent), Win("w", cent), Win("v", cent)), "balance_limit")
    assert (await player.bet(str(AMOUNT_MAX), key="all")).balance == 0
    assert (await player.reverse("all", key="back")).balance == AMOUNT_MAX


async def test_what_is_locked_comes_back_only_when_there_is_room(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.apply(Withdraw("w", Decimal(10), PAYMENT))
    await player.apply(Adjust("a", AMOUNT_MAX))
    await refused(casino, player.command(Conclude("c", "w", "cancelled")), "balance_limit")
    await player.apply(Adjust("less", Decimal(-10)))
    await player.apply(Conclude("c", "w", "cancelled"))
    assert await player.balance() == AMOUNT_MAX


async def test_the_balances_of_main_and_bonus_fit_an_answer(casino: Casino) -> None:
    player = await casino.player(main=str(AMOUNT_MAX - 1), bonus="1.00")
    cent = Decimal("0.01")
    for operation in (Grant("k", cent), Adjust("k", cent, "bonus"), Adjust("k", cent), Deposit("k", cent, PAYMENT)):
        await refused(casino, player.command(operation), "balance_limit")
    await player.apply(Convert("c", Decimal(1)))
    assert await player.balance() == AMOUNT_MAX


async def turn_over(player: Player, *, times: int, each_in_its_round: bool) -> None:
    """Bet all there is and win nothing; a correction gives it back."""
    for n in range(times):
        await player.bet(str(AMOUNT_MAX), key=f"b{n}", round_key=f"r{n}" if each_in_its_round else "r")
        await player.apply(Adjust(f"a{n}", AMOUNT_MAX))


async def test_the_sums_of_a_round_fit_their_columns(casino: Casino) -> None:
    player = await casino.player(main=str(AMOUNT_MAX))
    await turn_over(player, times=1, each_in_its_round=False)
    await refused(casino, player.command(Bet("b", Decimal("0.01")), round_key="r"), "balance_limit")

    winner = await casino.player()
    await winner.win(str(AMOUNT_MAX), key="w1", round_key="rw")
    await winner.apply(Adjust("away", -AMOUNT_MAX))
    await refused(casino, winner.command(Win("w2", Decimal("0.01")), round_key="rw"), "balance_limit")
    assert (await winner.reverse("w1", key="x1", round_key="rw")).balance == 0  # owed from now on
    await winner.win("1.00", key="w2", round_key="rw")


async def test_the_sums_of_a_session_fit_their_columns_and_a_neighbour_is_not_harmed(casino: Casino) -> None:
    player, neighbour = await casino.player(main=str(AMOUNT_MAX)), await casino.player(main="10.00")
    await turn_over(player, times=1, each_in_its_round=True)
    command = player.command(Bet("b", Decimal("0.01")), round_key="another")
    before = await casino.everything()
    first = await told(lambda: casino.batcher.submit(command))
    assert first.code == "balance_limit"
    assert await told(lambda: casino.batcher.submit(command)) == first
    assert await casino.everything() == before
    assert (await neighbour.bet("1.00", key="n", round_key="rn")).balance == Decimal("9.00")


async def test_what_is_owed_fits_its_column(casino: Casino) -> None:
    player = await casino.player()
    for n in range(2):
        # Each in a game session of its own, so that only what is owed could overflow.
        launched = await games.launch(casino.database, user_id=player.id, slug="lucky-sevens", currency="EUR")
        player.session_id = launched.session_id
        await player.win(str(AMOUNT_MAX), key=f"w{n}", round_key=f"r{n}")
        await player.apply(Adjust(f"away{n}", -await player.balance()))
    await player.reverse("w0", key="x0", round_key="r0")
    await refused(casino, player.command(Reverse("x1", "w1"), round_key="r1"), "balance_limit")


# Through the service's door --------------------------------------------------------------


async def test_a_correction_needs_a_reason_that_can_be_kept(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    staff_id = clock.new_id()
    async with casino.database.connection() as connection:
        await connection.execute(
            "INSERT INTO staff (id, email, name, password_hash, role) VALUES ($1, 'a@example.com', 'Ann', '', 'admin')",
            staff_id,
        )

    async def adjust(reason: str) -> Any:
        async with casino.database.transaction() as tx:
            return await service.adjust(
                tx,
                user_id=player.id,
                money=Money.parse("1.00", "EUR"),
                external_id="staff:a1",
                staff_id=staff_id,
                reason=reason,
            )

    before = await casino.everything()
    for reason in ("", "  \n", "x" * 501, "nul\x00", "half\ud800", "a\x1bb"):
        first = await told(lambda reason=reason: adjust(reason))  # type: ignore[misc]
        assert (first.code, first.field) == ("reason_missing", "reason"), reason
    assert await casino.everything() == before
    await adjust("  a goodwill gesture,\nas agreed \u263a" + " " * 600)
    rows = await casino.database.fetch("SELECT reason FROM staff_postings")
    assert [row["reason"] for row in rows] == ["a goodwill gesture,\nas agreed \u263a"]

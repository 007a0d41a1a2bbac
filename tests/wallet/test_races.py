"""Two server processes, one database, and whatever can be raced. Each race ends with exact books."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from casino import Casino, Player, open_casino
from countroom import clock
from countroom.money import Money
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.wallet import service
from countroom.wallet.commands import Outcome
from two_servers import Provider, at_once, servers

PLAYERS = 20


@pytest.fixture
async def race(settings: Settings, tmp_path: Path) -> AsyncIterator[tuple[Casino, Provider]]:
    assert settings.database_url
    async with open_casino(settings.database_url) as casino:
        with servers(settings, tmp_path) as started:
            limits = httpx.Limits(max_connections=64)
            async with httpx.AsyncClient(trust_env=False, timeout=30, limits=limits) as http:
                yield casino, Provider(http, started)
        await casino.check_books()


async def test_races_between_two_server_processes(race: tuple[Casino, Provider]) -> None:
    """One start of two servers serves all of them; a race that is lost names itself."""
    casino, provider = race
    await fifty_equal_ids_are_one_bet(casino, provider)
    await equal_ids_that_spend_everything_and_close_their_round_are_one_bet(casino, provider)
    await opposite_orders_of_players_never_deadlock(casino, provider)
    await the_last_cent_is_spent_once(casino, provider)
    await a_withdrawal_ends_once(casino, provider)
    await a_bet_is_reversed_or_its_round_settles_and_the_money_agrees(casino, provider)
    await two_reversals_under_two_ids_give_back_once(casino, provider)


async def fifty_equal_ids_are_one_bet(casino: Casino, provider: Provider) -> None:
    player = await casino.player(main="10.00")
    answers = await at_once(
        *(provider.bet_win(n % 2, player, ("bet", "equal", "3.00"), round_id="equal") for n in range(50))
    )
    assert {status for status, _ in answers} == {200}
    assert len({str(answer) for _, answer in answers}) == 1
    assert await player.balance() == Decimal("7.00")


async def equal_ids_that_spend_everything_and_close_their_round_are_one_bet(casino: Casino, provider: Provider) -> None:
    """Neither the money that the first one took nor the round that it closed may refuse the others."""
    for turn in range(10):
        player, name = await casino.player(main="3.00"), f"all-{turn}"
        answers = await at_once(
            *(provider.bet_win(n % 2, player, ("bet", name, "3.00"), round_id=name, finished=True) for n in range(8))
        )
        assert {status for status, _ in answers} == {200}, answers
        # Now both processes have met the player since, and one of them has never written the bet.
        for server in (0, 1):
            status, _ = await provider.bet_win(server, player, ("bet", f"{name}-more", "1.00"), round_id=f"{name}-more")
            assert status == 400
        answers += await at_once(
            *(provider.bet_win(n, player, ("bet", name, "3.00"), round_id=name, finished=True) for n in range(2))
        )
        assert len({str(answer) for _, answer in answers}) == 1


async def opposite_orders_of_players_never_deadlock(casino: Casino, provider: Provider) -> None:
    players = [await casino.player(main="100.00") for _ in range(PLAYERS)]

    async def play(server: int, order: list[Player], turn: int) -> list[Any]:
        return await at_once(
            *(
                provider.bet_win(
                    server, player, ("bet", f"o{server}-{turn}-{player.id}", "1.00"),
                    ("win", f"p{server}-{turn}-{player.id}", "0.50"), round_id=f"o{server}-{turn}-{player.id}",
                )
                for player in order
            )
        )  # fmt: skip

    for turn in range(5):
        for answers in await at_once(play(0, players, turn), play(1, players[::-1], turn)):
            assert {status for status, _ in answers} == {200}, answers
    assert {await player.balance() for player in players} == {Decimal("95.00")}


async def the_last_cent_is_spent_once(casino: Casino, provider: Provider) -> None:
    """A withdrawal of everything and bets of everything at once: one of them has it."""
    for turn in range(10):
        player = await casino.player(main="5.00")
        outcomes = await at_once(
            withdraw(casino, player, f"last-{turn}", "5.00"),
            *(
                provider.bet_win(n, player, ("bet", f"last-{turn}-{n}", "5.00"), round_id=f"last-{turn}-{n}")
                for n in range(2)
            ),
        )
        taken = [outcomes[0] is None, *(status == 200 for status, _ in outcomes[1:])]
        assert sum(taken) == 1, outcomes
        assert await player.balance() == 0
        assert await player.balance("locked") == (Decimal("5.00") if taken[0] else 0)


async def withdraw(casino: Casino, player: Player, key: str, amount: str) -> Refusal | None:
    try:
        async with casino.database.transaction() as tx:
            await service.request_withdrawal(
                tx, user_id=player.id, money=Money.parse(amount, player.currency), external_id=f"psp:{key}",
                payment_id=clock.new_id(),
            )  # fmt: skip
    except Refusal as refusal:
        return refusal
    return None


async def a_withdrawal_ends_once(casino: Casino, provider: Provider) -> None:
    """The provider says settled, the player says cancelled, somebody bets: one end, and no cent too many."""
    for turn in range(10):
        player = await casino.player(main="10.00")
        assert await withdraw(casino, player, f"end-{turn}", "6.00") is None
        *ends, (status, _) = await at_once(
            end(casino, player, turn, "settled"),
            end(casino, player, turn, "cancelled"),
            provider.bet_win(turn % 2, player, ("bet", f"end-{turn}", "4.00"), round_id=f"end-{turn}"),
        )
        assert status == 200
        assert sorted(ends, key=str) == sorted([None, "withdrawal_concluded"], key=str)
        assert await player.balance("locked") == 0
        assert await player.balance() == (0 if ends[0] is None else Decimal("6.00"))


async def end(casino: Casino, player: Player, turn: int, outcome: Outcome) -> str | None:
    try:
        async with casino.database.transaction() as tx:
            await service.conclude_withdrawal(
                tx, user_id=player.id, currency="EUR", external_id=f"psp:end-{turn}-{outcome}",
                withdrawal=f"psp:end-{turn}", outcome=outcome,
            )  # fmt: skip
    except Refusal as refusal:
        return refusal.code
    return None


async def a_bet_is_reversed_or_its_round_settles_and_the_money_agrees(casino: Casino, provider: Provider) -> None:
    for turn in range(10):
        player, name = await casino.player(main="10.00"), f"settle-{turn}"
        await provider.bet_win(0, player, ("bet", f"{name}-b", "4.00"), round_id=name)
        (settled, _), (reversed_, _) = await at_once(
            provider.bet_win(turn % 2, player, ("win", f"{name}-w", "3.00"), round_id=name, finished=True),
            provider.rollback((turn + 1) % 2, player, f"{name}-x", f"{name}-b", round_id=name),
        )
        assert (settled, reversed_) == (200, 200)  # both are always accepted (P7)
        assert await player.balance() == Decimal("13.00")


async def two_reversals_under_two_ids_give_back_once(casino: Casino, provider: Provider) -> None:
    player = await casino.player(main="10.00")
    await provider.bet_win(0, player, ("bet", "twice", "4.00"), round_id="twice")
    answers = await asyncio.gather(
        *(provider.rollback(n % 2, player, f"twice-x{n}", "twice", round_id="twice") for n in range(10))
    )
    assert {status for status, _ in answers} == {200}
    assert len({answer["transactions"][0]["id"] for _, answer in answers}) == 1
    assert await player.balance() == Decimal("10.00")

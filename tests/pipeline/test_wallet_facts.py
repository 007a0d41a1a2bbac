"""Every operation of the wallet arrives in ClickHouse as it is in PostgreSQL, and changes there when it changes."""

from datetime import UTC
from decimal import Decimal
from typing import Any

from pipeline_rows import Books, books, running_pipeline, warehouse

from casino import Casino, Player, open_casino
from countroom import clock
from countroom.marts.refresh import refresh
from countroom.settings import Settings
from countroom.wallet.commands import (
    Adjust,
    Bet,
    Command,
    Conclude,
    Convert,
    Deposit,
    Forfeit,
    Grant,
    Operation,
    Reverse,
    Win,
    Withdraw,
)
from countroom.warehouse import reconcile

COLUMNS = "external_id, type, wallet_type, status, amount, fee, currency, metadata->>'kind', processed_at"
ARRIVED = (
    "external_id, transaction_type, wallet_type, status, amount, fee, toString(currency), "
    "metadata.kind::Nullable(String), processed_at"
)


async def cashier(casino: Casino, player: Player, *operations: Operation) -> None:
    await casino.batcher.submit(Command("sandbox", player.id, player.currency, operations))


async def every_operation(casino: Casino, player: Player) -> None:
    payment = clock.new_id()
    await cashier(casino, player, Deposit("deposit", Decimal(50), payment, fee=Decimal("0.50")))
    await cashier(casino, player, Grant("grant", Decimal(20), award="welcome"))
    await player.bet("60.00", key="bet")  # 49.50 of main, 10.50 of bonus
    await player.win("12.00", key="win")
    await player.apply(Bet("free-bet", Decimal(1), moves_money=False), Win("free-win", Decimal(9), moves_money=False))
    await player.apply(Win("award", Decimal(7), award="welcome"), round_key="free")
    await cashier(casino, player, Forfeit("forfeit", Decimal(1)), Forfeit("expire", Decimal(2), "expired"))
    await cashier(casino, player, Convert("convert", Decimal(3)))
    await cashier(casino, player, Adjust("lower", Decimal("-0.90")), Adjust("raise", Decimal(5), "bonus"))
    for key in ("settled", "failed", "cancelled"):
        await cashier(casino, player, Withdraw(key, Decimal(4), payment, fee=Decimal("0.25")))
    await cashier(casino, player, Adjust("spent", Decimal(-6)))
    await player.reverse("award", key="reversal", round_key="free")
    await player.win("2.00", key="repaying", round_key="later")


def committed(book: Books) -> list[tuple[Any, ...]]:
    return book.ask(f"SELECT {COLUMNS} FROM transactions ORDER BY external_id")


def arrived(settings: Settings) -> list[tuple[Any, ...]]:
    with warehouse(settings) as client:
        rows = client.query(f"SELECT {ARRIVED} FROM events_transactions FINAL ORDER BY external_id").result_rows
    return [(*row[:-1], None if row[-1] is None else row[-1].replace(tzinfo=UTC)) for row in rows]


async def test_every_operation_arrives_as_it_is_and_withdrawals_settle_there(settings: Settings) -> None:
    assert settings.database_url
    with books(settings) as book, running_pipeline(settings):
        async with open_casino(settings.database_url) as casino:
            player = await casino.player()
            await every_operation(casino, player)
            book.wait_for_copy(settings)
            book.wait_until_arrived()
            first = arrived(settings)
            assert first == committed(book)
            signed = {row[0]: row[4] for row in first if row[4] < 0}
            assert signed == {
                "sandbox:forfeit": Decimal(-1), "sandbox:expire": Decimal(-2), "sandbox:convert/bonus": Decimal(-3),
                "sandbox:lower": Decimal("-0.90"), "sandbox:spent": Decimal(-6),
                "sandbox:repaying/repayment": Decimal(-2),
            }  # fmt: skip
            withdrawals = {row[0]: (row[3], row[8]) for row in first if row[1] == "withdrawal"}
            assert withdrawals == dict.fromkeys(
                ("sandbox:settled", "sandbox:failed", "sandbox:cancelled"), ("pending", None)
            )

            for outcome in ("settled", "failed", "cancelled"):
                await cashier(casino, player, Conclude(f"end-{outcome}", outcome, outcome))
            await casino.check_books()
        book.wait_until_arrived()
        second = arrived(settings)
        assert second == committed(book)
        ended = {row[0]: row[3] for row in second if row[1] == "withdrawal"}
        assert ended == {"sandbox:settled": "success", "sandbox:failed": "failed", "sandbox:cancelled": "cancelled"}
        assert reconcile.compare(settings).holds


async def test_the_kpi_counts_what_was_settled_and_no_release_free_round_bonus_or_correction(
    settings: Settings,
) -> None:
    assert settings.database_url
    with books(settings) as book, running_pipeline(settings):
        async with open_casino(settings.database_url) as casino:
            player, idle = await casino.player(), await casino.player()
            await every_operation(casino, player)
            await idle.apply(Bet("idle-bet", Decimal(1), moves_money=False), round_key="idle")
            for outcome in ("settled", "failed", "cancelled"):
                await cashier(casino, player, Conclude(f"end-{outcome}", outcome, outcome))
        book.wait_for_copy(settings)
        book.wait_until_arrived()
        refresh(settings)
        with warehouse(settings) as client:
            (figures,) = client.query(
                "SELECT sum(active_users), sum(gross_gaming_revenue), sum(deposits_sum), sum(withdrawals_sum) "
                "FROM daily_kpi FINAL"
            ).result_rows
    # Of the bet 49.50 and of its win 9.90 were real money, and so was the repaying win of 2.00.
    assert figures == (1, Decimal("37.60"), Decimal("50.00"), Decimal("4.00"))


async def test_a_reversed_free_round_is_cancelled_there_too(settings: Settings) -> None:
    assert settings.database_url
    with books(settings) as book, running_pipeline(settings):
        async with open_casino(settings.database_url) as casino:
            player = await casino.player(main="1.00")
            await player.apply(Bet("b", Decimal(1), moves_money=False), Reverse("x", "b"))
            await casino.check_books()
        book.wait_for_copy(settings)
        book.wait_until_arrived()
        (row,) = [row for row in arrived(settings) if row[0] == "sandbox:b"]
        assert row[3:5] == ("cancelled", Decimal(0))

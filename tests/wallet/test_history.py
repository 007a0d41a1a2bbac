"""A wallet's history: every line in its place, whatever is added meanwhile; every past balance as it was."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import get_args
from uuid import UUID

import pytest

from casino import Casino, Player
from countroom import clock
from countroom.money import ZERO
from countroom.schema.enumerations import TransactionStatus, TransactionType
from countroom.wallet import history
from countroom.wallet.history import Filters, Line, Order, Page, Place, Selection
from countroom.wallet.refusals import UnknownPlayer

CENT = Decimal("0.01")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def _wallet_id(player: Player, wallet_type: str = "main") -> UUID:
    accounts = await history.wallets_of(player.casino.database, player.id)
    return next(account.id for account in accounts if account.type == wallet_type)


async def _open(player: Player, filters: Filters | None = None) -> Selection:
    database = player.casino.database
    return await history.open_statement(database, player.id, await _wallet_id(player), filters or Filters())


async def _everything(player: Player, filters: Filters | None = None, order: Order = "newest") -> list[Line]:
    selection = await _open(player, filters)
    return [line async for lines in history.read_all(player.casino.database, selection, order) for line in lines]


async def _pages(player: Player, selection: Selection, *, order: Order, limit: int) -> list[Page]:
    """All pages, one after the other, as a caller goes through them."""
    pages = [await history.read_page(player.casino.database, selection, order=order, limit=limit)]
    while pages[-1].has_older if order == "newest" else pages[-1].has_newer:
        place = pages[-1].older if order == "newest" else pages[-1].newer
        pages.append(await history.read_page(player.casino.database, selection, place=place, order=order, limit=limit))
    return pages


async def _post(player: Player, moments: Sequence[datetime]) -> None:
    """An adjustment of one cent at each of these moments, in this order, as if posted by machines with such clocks."""
    wallet_id = await _wallet_id(player)
    async with player.casino.database.transaction() as tx:
        row = await tx.fetchrow("SELECT sequence, balance FROM wallet_accounts WHERE id = $1 FOR UPDATE", wallet_id)
        assert row is not None
        ids = [clock.new_id() for _ in moments]
        count = len(moments)
        await tx.executemany(
            "INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, created_at, user_id, "
            "wallet_type, currency, request_hash) "
            "VALUES ($1, $2, $3, 0.01, 'adjustment', 'success', $4, $5, 'main', $6, sha256(''))",
            [
                (one, wallet_id, f"test:{one}", moment, player.id, player.currency)
                for one, moment in zip(ids, moments, strict=True)
            ],
        )
        await tx.executemany(
            "INSERT INTO wallet_entries VALUES ($1, $2, $3, 0.01, $4, $5)",
            [
                (wallet_id, row["sequence"] + n, one, row["balance"] + n * CENT, moment)
                for n, (one, moment) in enumerate(zip(ids, moments, strict=True), 1)
            ],
        )
        await tx.execute(
            "UPDATE wallet_accounts SET sequence = sequence + $2, balance = balance + $3 WHERE id = $1",
            wallet_id, count, count * CENT,
        )  # fmt: skip


async def test_a_statement_is_the_journal_with_what_each_transaction_says(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("2.00", "b1")
    won = await player.win("5.00", "w1")
    await player.bet("1.00", "b2", round_key="r2")
    await player.reverse("b2", "undo")

    lines = await _everything(player)

    assert [(line.sequence, line.type, line.movement, line.status) for line in lines] == [
        (5, "bet", "reversed", "cancelled"),
        (4, "bet", "posted", "cancelled"),
        (3, "win", "posted", "success"),
        (2, "bet", "posted", "success"),
        (1, "deposit", "posted", "success"),
    ]
    assert [(str(line.amount), str(line.balance_after)) for line in lines] == [
        ("1.00", "13.00"), ("-1.00", "12.00"), ("5.00", "13.00"), ("-2.00", "8.00"), ("10.00", "10.00"),
    ]  # fmt: skip
    win = lines[2]
    assert (win.provider, win.external_id, win.game_slug, win.game_title) == (
        "sandbox", "sandbox:w1", "lucky-sevens", "Lucky Sevens",
    )  # fmt: skip
    assert (win.round_id, win.round_external_id) == (won.round_id, "r1")
    assert [line.sequence for line in await _everything(player, order="oldest")] == [1, 2, 3, 4, 5]


async def test_pages_stay_where_they_are_while_bets_are_added(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    for number in range(11):
        await player.bet("1.00", f"b{number}")
    selection = await _open(player)
    top = page = await history.read_page(casino.database, selection, limit=3)
    seen = [line.sequence for line in page.lines]
    while page.has_older:
        await player.bet("1.00", f"between{len(seen)}")
        page = await history.read_page(casino.database, await _open(player), place=page.older, limit=3)
        seen += [line.sequence for line in page.lines]

    assert seen == list(range(12, 0, -1))

    upwards = [line.sequence for line in page.lines]
    while page.has_newer:
        page = await history.read_page(casino.database, await _open(player), place=page.newer, limit=3)
        upwards = [line.sequence for line in page.lines] + upwards
    everything = [line.sequence for line in await _everything(player)]
    assert upwards == everything
    fresh = await history.read_page(casino.database, await _open(player), place=top.newer, limit=200)
    assert [line.sequence for line in fresh.lines] == everything[: everything.index(12)]


async def test_a_page_and_its_neighbours_hold_each_line_once_with_any_filter_order_and_size(casino: Casino) -> None:
    chance = random.Random(4)  # noqa: S311 - play, not a secret
    player = await casino.player(main="500.00", bonus="20.00")
    rounds = []
    for number in range(60):
        answer = await player.bet("1.00", f"b{number}", round_key=f"r{number // 3}")
        rounds.append(answer.round_id)
        if chance.random() < 0.4:
            await player.win("2.00", f"w{number}", round_key=f"r{number // 3}")
        if chance.random() < 0.3:
            await player.reverse(f"b{number}", f"undo{number}")
    everything = await _everything(player, order="oldest")
    moments = sorted({line.created_at for line in everything})
    assert len(everything) > 80

    statuses: list[tuple[TransactionStatus, ...] | None] = [None, ("cancelled",), ("success", "pending")]
    for _ in range(60):
        since, until = sorted(chance.sample(moments, 2))
        filters = Filters(
            types=chance.choice([None, ("bet",), ("win", "deposit"), get_args(TransactionType)]),
            statuses=chance.choice(statuses),
            since=chance.choice([None, since]),
            until=chance.choice([None, until]),
            game=chance.choice([None, "lucky-sevens"]),
            round_id=chance.choice([None, None, chance.choice(rounds)]),
        )
        expected = [
            line
            for line in everything
            if (filters.types is None or line.type in filters.types)
            and (filters.statuses is None or line.status in filters.statuses)
            and (filters.since is None or line.created_at >= filters.since)
            and (filters.until is None or line.created_at < filters.until)
            and (filters.game is None or line.game_slug == filters.game)
            and (filters.round_id is None or line.round_id == filters.round_id)
        ]
        order: Order = chance.choice(get_args(Order))
        pages = await _pages(player, await _open(player, filters), order=order, limit=chance.randint(1, 30))

        found = [line for page in pages for line in page.lines]
        assert found == (expected[::-1] if order == "newest" else expected), filters
        for before, after in pairwise(pages):
            back, on = (after.newer, before.older) if order == "newest" else (after.older, before.newer)
            assert back.sequence == on.sequence


async def test_a_filter_that_hardly_ever_matches_costs_a_bounded_look(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SCAN_MAX", 20)
    player = await casino.player(main="10.00")
    await _post(player, [NOON] * 70)
    await player.bet("1.00", "b1")

    deposits = await _pages(player, await _open(player, Filters(types=("deposit",))), order="newest", limit=50)

    assert [len(page.lines) for page in deposits] == [0, 0, 0, 1]
    assert [page.older.sequence for page in deposits] == [53, 33, 13, 1]
    bets = await _pages(player, await _open(player, Filters(types=("bet",))), order="oldest", limit=50)
    assert [len(page.lines) for page in bets] == [0, 0, 0, 1]
    assert not bets[-1].has_newer


async def test_a_place_beyond_the_wallet_is_at_its_end(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    selection = await _open(player)
    far = 2**62

    above = await history.read_page(casino.database, selection, place=Place("newer", far), limit=5)
    below = await history.read_page(casino.database, selection, place=Place("older", 0), limit=5)
    from_above = await history.read_page(casino.database, selection, place=Place("older", far), limit=5)

    assert (above.lines, above.newer.sequence, above.has_newer, above.has_older) == ([], 2, False, True)
    assert (below.lines, below.has_older, below.has_newer) == ([], False, True)
    assert [line.sequence for line in from_above.lines] == [1]
    await player.bet("1.00", "b1")
    fresh = await history.read_page(casino.database, await _open(player), place=above.newer, limit=5)
    assert [line.sequence for line in fresh.lines] == [2]


async def test_an_empty_wallet_has_an_empty_statement(casino: Casino) -> None:
    player = await casino.player()

    page = await history.read_page(casino.database, await _open(player), limit=5)

    assert (page.lines, page.has_older, page.has_newer) == ([], False, False)


async def test_a_past_balance_is_the_one_after_the_last_entry_that_is_not_later(casino: Casino) -> None:
    player = await casino.player(main="1.00")
    deposited = (await _everything(player))[0].created_at
    moments = [deposited + timedelta(milliseconds=3 * n) for n in range(1, 200)]
    await _post(player, moments)
    wallet_id = await _wallet_id(player)

    for n in [0, 1, 2, 63, 64, 100, 197, 198]:
        for step, entries in ((-1, n + 1), (0, n + 2), (1, n + 2)):
            at = moments[n] + timedelta(microseconds=step)
            (past,) = [one for one in await _balances_at(casino, player.id, at) if one.account.id == wallet_id]
            assert (past.sequence, past.balance) == (entries, Decimal("1.00") + (entries - 1) * CENT)


async def _balances_at(casino: Casino, user_id: UUID, at: datetime) -> list[history.BalanceAt]:
    # What _post writes lies in a near future.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(hours=1))
        return await history.balances_at(casino.database, user_id, at)


async def test_before_a_wallet_was_opened_it_holds_nothing_and_did_not_exist(casino: Casino) -> None:
    player = await casino.player(main="5.00")

    before = await history.balances_at(casino.database, player.id, NOON - timedelta(days=9_000))
    now = await history.balances_at(casino.database, player.id, clock.now())

    assert [(past.account.type, past.balance, past.existed) for past in before] == [
        ("main", ZERO, False), ("bonus", ZERO, False), ("locked", ZERO, False),
    ]  # fmt: skip
    assert [(past.account.type, str(past.balance), past.existed) for past in now] == [
        ("main", "5.00", True), ("bonus", "0.00", True), ("locked", "0.00", True),
    ]  # fmt: skip


async def test_the_future_and_strangers_are_refused(casino: Casino) -> None:
    ann, bob = await casino.player(main="5.00"), await casino.player()
    played = await ann.bet("1.00", "b1")

    with pytest.raises(history.MomentInFuture):
        await history.balances_at(casino.database, ann.id, clock.now() + timedelta(seconds=1))
    with pytest.raises(UnknownPlayer):
        await history.balances_at(casino.database, clock.new_id(), NOON)
    with pytest.raises(UnknownPlayer):
        await history.wallets_of(casino.database, clock.new_id())
    with pytest.raises(history.UnknownWallet):
        await history.open_statement(casino.database, bob.id, await _wallet_id(ann), Filters())
    with pytest.raises(history.UnknownGame):
        await _open(bob, Filters(game="no-such-game"))
    with pytest.raises(history.UnknownRound):
        await _open(bob, Filters(round_id=played.round_id))


async def test_clocks_that_disagree_break_no_balance_and_no_sum(casino: Casino) -> None:
    """Two machines whose clocks are five seconds apart take turns."""
    chance = random.Random(11)  # noqa: S311 - play, not a secret
    player = await casino.player()
    moments = [NOON + timedelta(milliseconds=400 * n, seconds=chance.choice([-2.5, 2.5])) for n in range(150)]
    await _post(player, moments)
    wallet_id = await _wallet_id(player)

    for _ in range(60):
        since, until = sorted(NOON + timedelta(milliseconds=chance.randint(-4_000, 64_000)) for _ in range(2))
        selection = await _open(player, Filters(since=since, until=until))
        lines = [line async for some in history.read_all(casino.database, selection) for line in some]

        assert selection.opening_balance + sum(line.amount for line in lines) == selection.closing_balance
        at = await history.balances_at(casino.database, player.id, since - timedelta(microseconds=1))
        assert next(past.balance for past in at if past.account.id == wallet_id) == selection.opening_balance
        last = max((n for n, moment in enumerate(moments, 1) if moment < since), default=0)
        assert selection.low == last + 1


@pytest.mark.parametrize(
    ("wallet_type", "status", "is_credit", "expected"),
    [
        ("main", "pending", False, "held"),
        ("locked", "pending", True, "held"),
        ("locked", "success", False, "settled"),
        ("main", "success", False, "held"),
        ("locked", "failed", False, "released"),
        ("main", "failed", True, "released"),
        ("main", "cancelled", False, "held"),
        ("main", "cancelled", True, "released"),
    ],
)
def test_a_withdrawal_is_held_then_settled_or_released(
    wallet_type: str,
    status: str,
    is_credit: bool,  # noqa: FBT001 - a case of a table
    expected: str,
) -> None:
    assert history.movement(wallet_type, "withdrawal", status, None, is_credit=is_credit) == expected


def test_what_an_entry_did_is_told_from_its_sign_and_kind() -> None:
    assert history.movement("main", "win", "cancelled", None, is_credit=False) == "reversed"
    assert history.movement("main", "bet", "cancelled", None, is_credit=False) == "posted"
    assert history.movement("main", "adjustment", "success", "receivable", is_credit=True) == "receivable"
    assert history.movement("main", "adjustment", "success", "repayment", is_credit=False) == "repayment"
    assert history.movement("bonus", "bonus", "success", "receivable", is_credit=True) == "posted"

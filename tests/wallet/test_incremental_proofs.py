"""Proofs since the last proof: nothing is left out and nothing is read as wrong, whatever happens meanwhile."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from casino import Casino, Player
from countroom import checks, clock
from countroom.proof import Proof, keep
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.wallet import books, incremental
from countroom.wallet.batch import post
from countroom.wallet.commands import Bet, Reverse, Win
from handwritten import end_withdrawal, everything, withdraw
from handwritten import post as post_by_hand

SOON = timedelta(seconds=0.2)

FALSIFY_A_NEW_ENTRY = """
    SET session_replication_role = replica;
    UPDATE wallet_entries SET amount = amount + 7, balance_after = balance_after + 7 WHERE sequence = 2;
    RESET session_replication_role
"""


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions that moved nothing are looked for soon after they were written."""
    monkeypatch.setattr(incremental, "ID_AGE_MAX", SOON)


@pytest.mark.parametrize("entries_a_part", [incremental.ENTRIES_A_PART, 5])
async def test_proofs_while_bets_wins_and_reversals_flow_never_see_a_fault(
    casino: Casino, monkeypatch: pytest.MonkeyPatch, entries_a_part: int
) -> None:
    monkeypatch.setattr(incremental, "ENTRIES_A_PART", entries_a_part)
    players = [await casino.player(main="500.00", bonus="50.00") for _ in range(8)]
    stop = asyncio.Event()
    chance = random.Random(3)  # noqa: S311 - any will do
    names = itertools.count()
    done: list[str] = []

    async def play(player: Player) -> None:
        own = next(names)
        for number in itertools.count():
            if stop.is_set():
                return
            key, round_key = f"{own}-{number}", f"{own}-{number // 20}"
            earlier = f"{own}-{chance.randint(number // 2, number)}"  # proved long ago, or of this round
            with suppress(Refusal):
                await player.bet("400.00" if chance.random() < 0.05 else "1.10", key, round_key)
                if chance.random() < 0.5:
                    await player.win("1.70", f"{key}-win", round_key)
                if chance.random() < 0.3:
                    await player.reverse(earlier, f"{key}-back", round_key)
                if chance.random() < 0.1:  # in one command, so at one moment
                    both = Bet(f"{key}-a", Decimal("2.00")), Reverse(f"{key}-b", f"{key}-a")
                    await player.apply(*both, round_key=round_key)
                if chance.random() < 0.1:
                    await player.reverse(f"{key}-unseen", f"{key}-nothing", round_key)
                done.append(round_key)

    plays = [asyncio.create_task(play(player)) for player in players for _ in range(3)]
    proofs: list[Proof] = []
    for number in range(25):
        proofs += await incremental.prove(casino.database, seconds_max=0)
        if number % 5 == 0:
            proofs += await incremental.prove_fully(casino.database)
    stop.set()
    await asyncio.gather(*plays)

    assert [proof for proof in proofs if not proof.holds] == []
    assert len(done) > 200
    assert sum(proof.compared for proof in proofs if proof.scope == "incremental") > len(done)


async def test_what_has_been_read_is_not_read_again(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    for number in range(30):
        await player.bet("1.00", key=f"b{number}")
    assert _compared(await incremental.prove(casino.database)) > 60
    async with casino.database.transaction() as tx:
        await everything(tx, player)

    again = await incremental.prove(casino.database)

    assert [proof for proof in again if not proof.holds] == []
    assert 20 < _compared(again) < 150
    assert _compared(await incremental.prove(casino.database)) <= 12  # tombstones of the last seconds
    marks = await casino.database.fetch(
        "SELECT FROM book_marks m JOIN wallet_accounts w ON w.id = m.wallet_account_id "
        "WHERE (m.sequence, m.balance, m.receivable) = (w.sequence, w.balance, w.receivable)"
    )
    assert len(marks) == 3


async def test_the_first_proof_is_a_full_one_and_sets_the_marks(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    await player.bet("1.00", key="b1")
    await casino.database.pool.execute("TRUNCATE book_marks, book_session_marks, book_horizon")
    assert not await incremental.has_begun(casino.database)

    scopes = [{proof.scope for proof in await incremental.prove(casino.database)} for _ in range(2)]

    assert scopes == [{"full"}, {"incremental"}]
    assert await incremental.has_begun(casino.database)


async def test_a_transaction_that_stays_open_across_proofs_is_read_when_it_has_committed(casino: Casino) -> None:
    patient, quick = [await casino.player(main="100.00") for _ in range(2)]
    await patient.bet("2.00", key="old")
    await incremental.prove(casino.database)
    before = await _read_from(casino)

    async with casino.database.transaction() as tx:
        await post(tx, [patient.command(Bet("b1", Decimal("3.00")), Win("w1", Decimal("5.00")))])
        await post(tx, [patient.command(Reverse("x1", "old")), patient.command(Reverse("x2", "unseen"))])
        for number in range(3):
            await quick.bet("1.00", key=f"q{number}", round_key="q")
            assert _broken(await incremental.prove(casino.database)) == {}
        assert await _read_from(casino) == before  # it may not be moved past what is still to come

    last = await incremental.prove(casino.database)
    assert _broken(last) == {}
    by_promise = {proof.promise: proof.compared for proof in last}
    assert by_promise["P2"] == 4, "both new keys and both tombstones"
    assert by_promise["P4"] == 2
    await incremental.prove(casino.database)
    assert await _read_from(casino) > before


async def test_a_fault_in_a_transaction_that_was_open_is_found_when_it_has_committed(
    casino: Casino, soon: None
) -> None:
    patient, quick = [await casino.player(main="100.00") for _ in range(2)]
    async with casino.database.transaction() as tx:
        await post(tx, [patient.command(Reverse("x1", "late"))])
        # What a write path without P4 would do: a bet after its reversal, and a bet without an entry.
        await tx.execute(
            "INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, user_id, wallet_type, "
            "currency, request_hash) SELECT $2, id, 'sandbox:late', 1, 'bet', 'success', user_id, type, "
            "currency, sha256('') FROM wallet_accounts WHERE user_id = $1 AND type = 'main'",
            patient.id,
            clock.new_id(),
        )
        await quick.bet("1.00", key="q1", round_key="q")
        assert _broken(await incremental.prove(casino.database)) == {}
    await asyncio.sleep(2 * SOON.total_seconds())
    broken = _broken(await incremental.prove(casino.database))
    await _take_back(casino, "sandbox:late")

    assert "sandbox:late (bet of 1.00) is success, and its tombstone says unseen" in broken["P4"]
    assert any("sandbox:late (bet of 1.00" in violation for violation in broken["P5"])


async def test_a_withdrawal_is_followed_from_its_request_to_its_end(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    for key in ("settled", "failed", "cancelled", "forgotten"):
        async with casino.database.transaction() as tx:
            await withdraw(tx, player, key, "5.00", fee="0.50")
        assert _broken(await incremental.prove(casino.database)) == {}
    for outcome in ("settled", "failed", "cancelled"):
        async with casino.database.transaction() as tx:
            await end_withdrawal(tx, player, outcome, outcome)
        assert _broken(await incremental.prove(casino.database)) == {}

    async with casino.database.transaction() as tx:
        await end_withdrawal(tx, player, "forgotten", "settled")
        await tx.execute("UPDATE transactions SET status = 'failed' WHERE external_id = 'hand:forgotten'")
    broken = _broken(await incremental.prove(casino.database))
    await casino.database.pool.execute(
        "UPDATE transactions SET status = 'success' WHERE external_id = 'hand:forgotten'"
    )
    await incremental.prove_fully(casino.database)

    assert broken["P4"] == ("hand:forgotten (withdrawal of 5.00) is failed, and its tombstone says settled",)
    assert (
        "hand:forgotten (withdrawal of 5.00, fee 0.50, failed): its entries add up to -5.50 instead of 0"
        in (broken["P5"][0])
    )


async def test_a_violation_stays_until_a_full_proof_holds(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    await player.bet("1.00", key="b1")
    await casino.database.pool.execute(FALSIFY_A_NEW_ENTRY)

    first = _broken(await incremental.prove(casino.database))
    await player.win("3.00", key="w1")
    second = _broken(await incremental.prove(casino.database))
    full = _broken(await incremental.prove_fully(casino.database))
    await casino.database.pool.execute(FALSIFY_A_NEW_ENTRY.replace("+ 7", "- 7"))
    assert set(_broken(await incremental.prove(casino.database))) == {"P1", "P5"}
    repaired = _broken(await incremental.prove_fully(casino.database))
    after = _broken(await incremental.prove(casino.database))

    assert set(first) == set(second) == set(full) == {"P1", "P5"}
    assert first["P1"][0] in second["P1"]
    assert repaired == after == {}


async def test_a_full_proof_of_an_earlier_moment_does_not_hide_a_later_violation(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    await player.bet("1.00", key="b1")
    async with casino.database.transaction(snapshot=True, read_only=False) as slow:
        await slow.execute("SELECT")  # its snapshot
        await casino.database.pool.execute(FALSIFY_A_NEW_ENTRY)
        assert _broken(await incremental.prove(casino.database))
        await keep(slow, await books.prove_within(slow), moment=await slow.fetchval("SELECT now()"))

    assert _broken(await incremental.prove(casino.database))
    await casino.database.pool.execute(FALSIFY_A_NEW_ENTRY.replace("+ 7", "- 7"))
    assert not _broken(await incremental.prove_fully(casino.database))


async def test_a_proof_whose_time_is_over_leaves_to_the_next_who_was_read_last(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "ENTRIES_A_PART", 1)  # so a part is one player
    players = [await casino.player(main="100.00") for _ in range(3)]
    for number, player in enumerate(players):
        await player.bet("1.00", f"b{number}", f"r{number}")
        await incremental.prove(casino.database)
    for number in (2, 1, 0, 1):
        await players[number].bet("1.00", f"again{next(casino.numbers)}", f"r{number}")

    read, waiting = [], []
    for _ in range(4):
        proofs = await incremental.prove(casino.database, seconds_max=0)
        assert _broken(proofs) == {}
        read.append([n for n, player in enumerate(players) if await _is_read(casino, player)])
        waiting.append({proof.waiting for proof in proofs})

    assert read == [[0], [0, 1], [0, 1, 2], [0, 1, 2]]
    assert waiting == [{3}, {1}, {0}, {0}]
    kept = await casino.database.fetch(
        "SELECT waiting FROM proofs WHERE promise = 'P3' ORDER BY checked_at DESC LIMIT 4"
    )
    assert [row["waiting"] for row in kept] == [0, 0, 1, 3]


async def test_a_proof_of_many_parts_is_one_row_a_promise_and_counts_all_of_them(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    players = [await casino.player(main="100.00") for _ in range(5)]
    for number, player in enumerate(players):
        await player.bet("1.00", f"b{number}", f"r{number}")
    monkeypatch.setattr(incremental, "ENTRIES_A_PART", 1)
    rows = await casino.database.pool.fetchval("SELECT count(*) FROM proofs")
    said: list[str] = []

    proofs = await incremental.prove(casino.database, progress=said.append)

    assert _journal(proofs) == 15, "five wallets, a deposit and a bet in each"
    assert await casino.database.pool.fetchval("SELECT count(*) FROM proofs") == rows + 5
    assert [n for n in (8, 6, 4, 2) if f"P3 never negative; {n} new entries after these" in said] == [8, 6, 4, 2]
    assert "P3 never negative" in said


async def test_a_fault_of_a_player_who_waits_is_found_when_he_is_read(
    casino: Casino, monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    monkeypatch.setattr(incremental, "ENTRIES_A_PART", 1)
    first, second, idle = [await casino.player(main="100.00") for _ in range(3)]
    await incremental.prove(casino.database)
    await first.bet("1.00", "first", f"r-{first.id}")
    await incremental.prove(casino.database)
    for player in (first, second):
        await player.bet("1.00", f"b-{player.id}", f"r-{player.id}")
    # What should have an entry and has none, of one who waits for his turn, and of one whose wallets stand still.
    async with casino.database.connection() as connection:
        await post_by_hand(connection, first, "bet", "waits", "3.00")
        await post_by_hand(connection, idle, "bet", "idle", "4.00")
    await asyncio.sleep(2 * SOON.total_seconds())

    found = [_broken(await incremental.prove(casino.database, seconds_max=0)) for _ in range(2)]
    await _take_back(casino, "hand:")

    assert [{"hand:waits" in text or "hand:idle" in text for text in broken["P5"]} for broken in found] == [{True}] * 2
    assert not any("hand:waits" in text for text in found[0]["P5"])
    assert any("hand:waits" in text for text in found[1]["P5"])


async def test_a_transaction_that_stays_open_for_long_lets_nobody_wait_for_ever(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "ENTRIES_A_PART", 1)
    monkeypatch.setattr(incremental, "SETTLE_SECONDS", 0.02)
    players = [await casino.player(main="100.00") for _ in range(3)]
    await incremental.prove(casino.database)
    async with casino.database.transaction() as tx:
        await tx.execute("SELECT pg_current_xact_id()")
        read = []
        for turn in range(3):
            for number, player in enumerate(players):
                await player.bet("1.00", f"b{turn}-{number}", f"r{number}")
            waits = [player for player in players if not await _is_read(casino, player)]
            await incremental.prove(casino.database, seconds_max=0)
            read += [player.id for player in waits if await _is_read(casino, player)]

    assert set(read) == {player.id for player in players}


async def test_transactions_that_moved_nothing_are_walked_past_some_at_a_time(
    casino: Casino, monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    players = [await casino.player(main="100.00") for _ in range(3)]
    await incremental.prove(casino.database)
    async with casino.database.connection() as connection:
        for number, player in enumerate(players):
            await post_by_hand(connection, player, "bet", f"idle{number}", "4.00")
    await asyncio.sleep(2 * SOON.total_seconds())
    monkeypatch.setattr(incremental, "IDS_A_PROOF", 1)

    found = [_broken(await incremental.prove(casino.database)) for _ in range(10)]
    await _take_back(casino, "hand:")

    assert len(found[0].get("P5", ())) < len(found[-1]["P5"]) == len(players)


async def test_what_a_part_found_broken_stays_when_a_later_part_fails(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "ENTRIES_A_PART", 1)
    for number in range(2):
        await (await casino.player(main="100.00")).bet("1.00", f"b{number}", f"r{number}")
    await casino.database.pool.execute(FALSIFY_A_NEW_ENTRY)
    parts = itertools.count()

    def stop(sentence: str) -> None:
        if sentence.startswith("reading") and next(parts) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await incremental.prove(casino.database, progress=stop)
    waiting = _broken(await incremental.prove(casino.database, seconds_max=0))
    after = _broken(await incremental.prove(casino.database))
    await casino.database.pool.execute(FALSIFY_A_NEW_ENTRY.replace("+ 7", "- 7"))
    await incremental.prove_fully(casino.database)

    assert len(waiting["P5"]) == len(after["P5"]) == 2


async def test_every_fault_is_found_once_whoever_waits_and_whatever_stays_open(
    casino: Casino, monkeypatch: pytest.MonkeyPatch, soon: None
) -> None:
    monkeypatch.setattr(incremental, "ENTRIES_A_PART", 5)
    monkeypatch.setattr(incremental, "SETTLE_SECONDS", 0.02)
    players = [await casino.player(main="1000.00") for _ in range(10)]
    await incremental.prove(casino.database)
    stop = asyncio.Event()
    chance = random.Random(11)  # noqa: S311 - any will do
    names = itertools.count()

    async def play(player: Player) -> None:
        while not stop.is_set():
            await player.bet("1.10", f"b{next(names)}", f"r{next(names)}")
            if chance.random() < 0.2:
                await player.apply(
                    Bet(f"free{next(names)}", Decimal("1.00"), moves_money=False), round_key=f"free-{player.id}"
                )

    async def forget(player: Player, number: int) -> None:
        """Write a bet without an entry, in a transaction that stays open across some proofs."""
        async with casino.database.transaction() as tx:
            await post_by_hand(tx, player, "bet", f"fault{number}", "3.00")
            await asyncio.sleep(chance.random() * 0.6)

    tasks = [asyncio.create_task(play(player)) for player in players[:7]]
    faults = []
    left = 0
    for number in range(30):
        if number in range(2, 22, 3):
            faults.append(asyncio.create_task(forget(chance.choice(players), number)))
        for proof in await incremental.prove(casino.database, seconds_max=0):
            left = max(left, proof.waiting)
    await asyncio.gather(*faults)
    stop.set()
    await asyncio.gather(*tasks)
    await asyncio.sleep(2 * SOON.total_seconds())
    last = await incremental.prove(casino.database, seconds_max=0)
    while last[0].waiting:
        last = await incremental.prove(casino.database, seconds_max=0)
    broken = _broken(last)
    await _take_back(casino, "hand:")

    assert left > 20, "some waited"
    assert set(broken) == {"P5"}
    assert sorted(text.split()[0] for text in broken["P5"]) == sorted(f"hand:fault{n}" for n in range(2, 22, 3))


async def test_players_who_were_read_before_players_had_marks_are_read_on_from_there(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    for number in range(5):
        await player.bet("1.00", key=f"b{number}")
    await incremental.prove(casino.database)
    await casino.database.pool.execute(  # as the migration leaves it
        "TRUNCATE book_player_marks; "
        "UPDATE book_horizon SET begun_snapshot = pg_current_snapshot(), begun_from = read_from"
    )
    await player.bet("1.00", key="new")

    by_promise = {proof.promise: proof for proof in await incremental.prove(casino.database)}

    assert _broken(list(by_promise.values())) == {}
    assert by_promise["P2"].compared == 1


async def test_the_timer_proves_no_longer_than_it_is_set_to(
    casino: Casino, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    players = [await casino.player(main="10.00") for _ in range(150)]
    monkeypatch.setattr(incremental, "ENTRIES_A_PART", 1)
    settings = msgspec.structs.replace(settings, books_proof_seconds=1)

    proofs = await checks.prove_books_by_timer(settings)

    assert _broken(proofs) == {}
    assert 0 < proofs[0].waiting < len(players)


async def test_a_wallet_that_is_gone_is_missed(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    await player.bet("1.00", key="b1")
    await incremental.prove(casino.database)
    async with casino.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SET LOCAL session_replication_role = replica")
        wallet_id = await connection.fetchval("DELETE FROM wallet_accounts WHERE type = 'main' RETURNING id")
        broken = _broken(await incremental.prove_within(connection))
        await transaction.rollback()

    assert broken == {"P1": (f"wallet {wallet_id} is gone; it had 99.00 at sequence 2",)}


async def test_two_provers_at_once_prove_one_after_the_other(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    for number in range(20):
        await player.bet("1.00", key=f"b{number}")

    proofs = await asyncio.gather(*(incremental.prove(casino.database) for _ in range(2)))

    assert _broken(proofs[0]) == _broken(proofs[1]) == {}
    less, more = sorted(_journal(found) for found in proofs)
    assert less == 0
    assert more > 20


async def test_a_prover_that_is_stopped_leaves_the_marks_where_they_were(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = await casino.player(main="100.00")
    await player.bet("1.00", key="b1")

    def stop(sentence: str) -> None:
        if sentence.startswith("P5"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await incremental.prove(casino.database, progress=stop)

    assert _journal(await incremental.prove(casino.database)) > 2


@pytest.mark.parametrize("rows_max", [0, 5])
async def test_of_a_very_busy_player_the_rounds_that_cannot_be_reached_are_left_out(
    casino: Casino, monkeypatch: pytest.MonkeyPatch, rows_max: int
) -> None:
    player = await casino.player(main="100.00")
    for number in range(30):
        await player.bet("1.00", key=f"b{number}", round_key=f"r{number}")
    await incremental.prove(casino.database)
    monkeypatch.setattr(incremental, "PLAYER_ROWS_MAX", rows_max)
    await player.win("2.00", key="w0", round_key="r0")  # thirty transactions back
    await player.bet("1.00", key="new", round_key="new")
    await casino.database.pool.execute("UPDATE game_rounds SET bet_amount = 9 WHERE external_id = 'r0'")

    left_out = await incremental.prove(casino.database)
    monkeypatch.setattr(incremental, "PLAYER_ROWS_MAX", 100)
    await player.win("2.00", key="w1", round_key="r0")
    await casino.database.pool.execute("UPDATE game_rounds SET bet_amount = 9 WHERE external_id = 'r0'")
    found = _broken(await incremental.prove(casino.database))
    await casino.database.pool.execute("UPDATE game_rounds SET bet_amount = 1 WHERE external_id = 'r0'")
    await incremental.prove_fully(casino.database)

    assert _broken(left_out) == {}
    assert "says 9.00 bet (0.00 of it bonus) and 4.00 won; its transactions say 1.00 (0) and 4.00" in found["P5"][0]


def _broken(proofs: Sequence[Proof]) -> dict[str, tuple[str, ...]]:
    return {proof.promise: proof.violations for proof in proofs if not proof.holds}


async def _take_back(casino: Casino, prefix: str) -> None:
    """Remove false transactions, and let a full proof find that all is well again."""
    await casino.database.pool.execute(
        f"SET session_replication_role = replica; DELETE FROM transactions WHERE starts_with(external_id, '{prefix}'); "
        "RESET session_replication_role"
    )
    await incremental.prove_fully(casino.database)


async def _is_read(casino: Casino, player: Player) -> bool:
    """Whether nothing new of the player's wallets is left."""
    return (
        await casino.database.fetchrow(
            "SELECT FROM wallet_accounts w LEFT JOIN book_marks m ON m.wallet_account_id = w.id "
            "WHERE w.user_id = $1 AND w.sequence > coalesce(m.sequence, 0)",
            player.id,
        )
        is None
    )


def _compared(proofs: Sequence[Proof]) -> int:
    return sum(proof.compared for proof in proofs)


def _journal(proofs: Sequence[Proof]) -> int:
    """How many wallets and entries were read."""
    return next(proof.compared for proof in proofs if proof.promise == "P3")


async def _read_from(casino: Casino) -> datetime:
    moment: datetime = await casino.database.pool.fetchval("SELECT read_from FROM book_horizon")
    return moment

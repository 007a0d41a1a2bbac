"""The batcher's own promises, on real PostgreSQL: what is slow, late, faulty or stale is provoked there."""

import asyncio
import selectors
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import REGISTRY

from casino import Casino, Player, open_casino
from countroom import clock
from countroom.postgres import Database, Transaction
from countroom.refusal import Refusal
from countroom.wallet import batch, queries
from countroom.wallet.batch import Batcher, post
from countroom.wallet.commands import KEY_LENGTH_MAX, Adjust, Answer, Bet, Command, Operation, Reverse, Win
from countroom.wallet.refusals import InsufficientFunds, KeyConflict, Overloaded, RolledBack

CENT = Decimal("0.01")


@asynccontextmanager
async def held(casino: Casino, *players: Player) -> AsyncIterator[Transaction]:
    """Somebody else holds the players' main wallets: whoever writes about them has to wait."""
    async with casino.database.transaction() as tx:
        await tx.execute(
            "SELECT FROM wallet_accounts WHERE user_id = ANY($1) AND type = 'main' ORDER BY id FOR UPDATE",
            [player.id for player in players],
        )
        yield tx


async def waiters(casino: Casino, count: int = 1) -> None:
    """Wait until so many passes wait for a lock."""
    async with asyncio.timeout(10):
        while True:
            row = await casino.database.fetchrow(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            assert row is not None
            if row[0] >= count:
                return
            await asyncio.sleep(0.005)


async def neighbours(casino: Casino, count: int) -> list[Player]:
    return [await casino.player(main="10.00") for _ in range(count)]


async def asked(*calls: "asyncio.Task[Answer]") -> list[Answer | BaseException]:
    return await asyncio.gather(*calls, return_exceptions=True)


def ask(player: Player, *operations: Operation, round_key: str = "r1") -> "asyncio.Task[Answer]":
    return asyncio.create_task(player.apply(*operations, round_key=round_key))


async def passes(casino: Casino) -> list[int]:
    """How many of the provider's rows each pass wrote: they share the pass's moment."""
    rows = await casino.database.fetch(
        "SELECT count(*) FROM transactions WHERE provider = 'sandbox' GROUP BY created_at ORDER BY created_at"
    )
    return [row[0] for row in rows]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"countroom_wallet_{name}_total", labels) or 0


# Bounds ----------------------------------------------------------------------------------


async def test_what_comes_while_a_pass_writes_goes_in_the_next_ones_of_bounded_size(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    async with held(casino, player):
        first = ask(player, Bet("first", CENT))
        await waiters(casino)
        others = [ask(player, Bet(f"b{n}", CENT)) for n in range(2 * batch.BATCH_MAX + 10)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in (first, *others))
    answers = await asyncio.gather(first, *others)

    assert await passes(casino) == [1, batch.BATCH_MAX, batch.BATCH_MAX, 10]
    assert [answer.balance for answer in answers] == [10 - CENT * (n + 1) for n in range(len(answers))]


async def test_a_pass_of_large_commands_is_bounded_in_bytes_and_one_alone_may_be_larger(casino: Casino) -> None:
    player = await casino.player(main="100.00")

    def large(name: str, operations: int) -> list[Operation]:
        return [Bet(f"{name}-{n}".ljust(KEY_LENGTH_MAX, "."), CENT) for n in range(operations)]

    fits = batch.BATCH_BYTES_MAX // (100 * (batch.ROW_BYTES + KEY_LENGTH_MAX))
    async with held(casino, player):
        calls = [ask(player, Bet("first", CENT))]
        await waiters(casino)
        calls += [ask(player, *large(f"c{n}", 100)) for n in range(2 * fits)]
        calls += [ask(player, *large("huge", 500))]
    await asyncio.gather(*calls)

    assert await passes(casino) == [1, fits * 100, fits * 100, 500]


async def test_beyond_what_may_wait_a_command_is_refused_at_once_and_nothing_waiting_is_lost(casino: Casino) -> None:
    player = await casino.player(main="100.00")
    async with held(casino, player):
        first = ask(player, Bet("first", CENT))
        await waiters(casino)
        waiting = [ask(player, Bet(f"b{n}", CENT)) for n in range(batch.OUTSTANDING_MAX - 1)]
        await asyncio.sleep(0)
        for n in range(100):
            began = time.perf_counter()
            with pytest.raises(Overloaded) as refused:
                await player.bet("0.01", key=f"late{n}")
            assert time.perf_counter() - began < 0.1
            assert refused.value.kind == "unavailable"
    answers = await asyncio.gather(first, *waiting)

    assert answers[-1].balance == await player.balance() == 100 - CENT * batch.OUTSTANDING_MAX
    assert (await player.bet("0.01", key="late0")).repeated is False


async def test_what_has_waited_too_long_is_refused_unwritten(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(batch, "WAITING_SECONDS_MAX", 0.2)
    player = await casino.player(main="10.00")
    async with held(casino, player):
        begun = ask(player, Bet("begun", CENT))
        await waiters(casino)
        late = [ask(player, Bet(f"late{n}", CENT)) for n in range(3)]
        await asyncio.sleep(0.25)
        in_time = ask(player, Bet("in time", CENT))
        await asyncio.sleep(0)
    outcomes = await asked(begun, *late, in_time)

    assert [type(outcome) for outcome in outcomes] == [Answer, Overloaded, Overloaded, Overloaded, Answer]
    assert [line.split(":")[1] for line in await player.lines("sandbox:")] == ["begun", "in time"]


def test_an_idle_batcher_wakes_nobody(database_url: str) -> None:
    class Counting(selectors.DefaultSelector):
        turns = 0

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            self.turns += 1
            return super().select(timeout)

    selector = Counting()

    async def idle() -> tuple[int, int]:
        async with open_casino(database_url) as casino:
            player = await casino.player(main="10.00")
            turns = []
            for n in range(2):  # before its first command, and after it
                await asyncio.sleep(0.05)
                began = selector.turns
                await asyncio.sleep(0.4)
                turns.append(selector.turns - began)
                await player.bet("1.00", key=f"b{n}")
            return turns[0], turns[1]

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        assert max(runner.run(idle())) <= 2  # one for the sleep itself


# Whoever gives up, and the end -----------------------------------------------------------


async def test_giving_up_never_stops_a_write_that_has_begun_nor_a_neighbours(casino: Casino) -> None:
    impatient, patient = await neighbours(casino, 2)
    async with held(casino, impatient, patient):
        calls = [ask(impatient, Bet("b1", CENT)), ask(patient, Bet("b2", CENT), round_key="r2")]
        await waiters(casino)
        waiting = ask(impatient, Bet("b3", CENT))
        await asyncio.sleep(0)
        for call in (calls[0], waiting):
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    assert (await calls[1]).balance == Decimal("9.99")

    again = await impatient.bet("0.01", key="b1")
    assert (again.repeated, again.balance) == (True, Decimal("9.99"))
    assert (await impatient.bet("0.01", key="b3")).balance == Decimal("9.98")  # whether it was written or not


async def test_stopping_takes_nothing_more_and_answers_everything_it_took(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    batcher = Batcher(casino.database, lanes=1)
    await batcher.__aenter__()
    async with held(casino, player):
        calls = [asyncio.create_task(batcher.submit(player.command(Bet(f"b{n}", CENT)))) for n in range(20)]
        await waiters(casino)
        stopping = asyncio.create_task(batcher.__aexit__())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await batcher.submit(player.command(Bet("after", CENT)))
        assert not stopping.done()
    await asyncio.wait_for(stopping, 10)
    assert all(call.done() for call in calls)
    assert [call.result().balance for call in calls] == [10 - CENT * (n + 1) for n in range(20)]
    assert await player.balance() == Decimal("9.80")


# Neighbours ------------------------------------------------------------------------------


async def test_a_refusal_costs_only_the_command_at_fault(casino: Casino) -> None:
    players = await neighbours(casino, 4)
    async with held(casino, players[0]):
        calls = [ask(players[0], Bet("first", CENT), round_key="first")]
        await waiters(casino)
        stakes = [Decimal(1), Decimal(11), Decimal(1), Decimal(1)]
        calls += [ask(players[n], Bet(f"b{n}", stake), round_key=f"r{n}") for n, stake in enumerate(stakes)]
    outcomes = await asked(*calls)
    assert [type(outcome) for outcome in outcomes] == [Answer, Answer, InsufficientFunds, Answer, Answer]
    assert len(await passes(casino)) == 2


async def test_a_fault_of_ours_costs_only_the_command_at_fault(casino: Casino) -> None:
    players = await neighbours(casino, 4)
    nowhere = Command("sandbox", players[1].id, "EUR", (Bet("nowhere", CENT),))  # no dialect would: a bet in no game
    async with held(casino, players[0]):
        calls = [ask(players[0], Bet("first", CENT), round_key="first")]
        await waiters(casino)
        calls += [ask(players[n], Bet(f"b{n}", CENT), round_key=f"r{n}") for n in (0, 2, 3)]
        calls += [asyncio.create_task(casino.batcher.submit(nowhere))]
    outcomes = await asked(*calls)
    assert [type(outcome) for outcome in outcomes] == [Answer, Answer, Answer, Answer, Overloaded]
    assert await players[1].balance() == Decimal("10.00")
    with pytest.raises(Overloaded):
        await casino.batcher.submit(nowhere)


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_key_that_another_process_uses_meanwhile_costs_only_its_command(
    casino: Casino, is_kept: bool  # noqa: FBT001 - a table's column
) -> None:  # fmt: skip
    players = await neighbours(casino, 3)
    elsewhere = await casino.player(main="10.00")
    connection = await casino.database.pool.acquire()
    transaction = connection.transaction()
    await transaction.start()
    await post(connection, [elsewhere.command(Bet("shared", CENT), round_key="elsewhere")])
    calls = [
        ask(player, Bet("shared" if n == 1 else f"b{n}", CENT), round_key=f"r{n}") for n, player in enumerate(players)
    ]
    await waiters(casino)
    await (transaction.commit() if is_kept else transaction.rollback())
    await casino.database.pool.release(connection)

    outcomes = await asked(*calls)
    assert [type(outcome) for outcome in outcomes] == [Answer, KeyConflict if is_kept else Answer, Answer]


async def test_a_connection_that_is_lost_leaves_nothing_half_written(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    async with held(casino, player) as tx:
        call = ask(player, Bet("b1", CENT), Win("w1", CENT))
        await waiters(casino)
        await tx.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with pytest.raises(Overloaded):
            await call
    assert await player.lines("sandbox:") == []
    again = await player.apply(Bet("b1", CENT), Win("w1", CENT))
    assert (again.repeated, again.balance) == (False, Decimal("10.00"))


# Several processes -----------------------------------------------------------------------


async def _history(player: Player, mark: str, *, disturbed: bool) -> list[tuple[object, ...]]:
    """Play one history; disturbed, somebody else writes between what each pass reads and what it writes."""
    casino = player.casino
    said: list[tuple[object, ...]] = []
    steps: Sequence[tuple[Operation, ...]] = (
        (Bet(f"b1{mark}", Decimal(12)),),
        (Win(f"w1{mark}", Decimal(6)), Bet(f"b2{mark}", Decimal(1))),
        (Bet(f"b3{mark}", Decimal(100)),),
        (Reverse(f"x1{mark}", f"b1{mark}"),),
        (Bet(f"b1{mark}", Decimal(12)),),
        (Bet(f"b4{mark}", Decimal(1)),),
    )
    for number, step in enumerate(steps):
        other = player.command(Adjust(f"other{number}{mark}", Decimal(1)))
        writes = number in {0, 1, 3, 5}  # 2 is a refusal, 4 a repeat; 5 is a plain bet
        async with casino.database.transaction() as tx:
            await post(tx, [other])
            if disturbed and writes:
                call = ask(player, *step, round_key=f"r{mark}")
                await waiters(casino)
        if not (disturbed and writes):
            call = ask(player, *step, round_key=f"r{mark}")
        (outcome,) = await asked(call)
        if isinstance(outcome, Answer):
            said.append((outcome.balance, outcome.repeated, *(posted.bonus for posted in outcome.operations)))
        else:
            assert isinstance(outcome, Refusal)
            said.append((outcome.code, getattr(outcome, "balance", None)))
    return said


async def test_what_was_read_too_early_is_read_again_and_answered_the_same(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(batch, "LOCKING_SECONDS", 0.0)
    undisturbed, disturbed = (
        await casino.player(main="10.00", bonus="5.00"),
        await casino.player(main="10.00", bonus="5.00"),
    )
    expected = await _history(undisturbed, "a", disturbed=False)
    before = counted("stale_passes")

    said = await _history(disturbed, "b", disturbed=True)

    assert said == expected
    assert expected[2][0] == "insufficient_funds"
    assert counted("stale_passes") == before + 4


async def test_a_bet_that_another_process_reversed_before_it_came_is_refused_for_that_each_time(
    casino: Casino, database_url: str
) -> None:  # fmt: skip
    player = await casino.player(main="1.00")
    await player.reverse("late", "x1")

    async with open_casino(database_url) as other:
        for _ in range(3):  # read, and then from memory, which lacks the money too
            with pytest.raises(RolledBack):
                await other.batcher.submit(player.command(Bet("late", Decimal(5))))


async def ways(player: Player) -> list[str]:
    """Bet once; return how the passes that this took went about it."""
    before = {way: counted("passes", way=way) for way in ("memory", "reads", "locks")}
    await player.bet("0.01", key=str(clock.new_id()), round_key=str(player.id))
    return [way for way, count in before.items() for _ in range(int(counted("passes", way=way) - count))]


async def written_elsewhere(casino: Casino, player: Player) -> None:
    async with casino.database.transaction() as tx:
        await post(tx, [player.command(Adjust(str(clock.new_id()), CENT))])


async def test_what_somebody_else_writes_about_one_player_costs_a_pass_and_nobody_elses_memory(casino: Casino) -> None:
    one, other = await neighbours(casino, 2)
    assert [await ways(one), await ways(other)] == [["memory"], ["memory"]]
    await written_elsewhere(casino, one)

    assert await ways(one) == ["memory", "reads"]
    async with casino.database.transaction() as tx:
        await tx.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")  # whoever reads for a player waits here
        assert [await ways(one), await ways(other)] == [["memory"], ["memory"]]


async def test_after_something_that_concerned_many_everybody_is_read_for_once(casino: Casino) -> None:
    players = await neighbours(casino, batch.MEMORY_REFUSED_MAX + 5)
    for player in players:
        assert await ways(player) == ["memory"]
    for player in players:
        await written_elsewhere(casino, player)

    found = [await ways(player) for player in players]

    assert found == [["memory", "reads"]] * batch.MEMORY_REFUSED_MAX + [["memory"]] * 5
    async with casino.database.transaction() as tx:
        await tx.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        assert await ways(players[-1]) == ["memory"]


async def test_where_others_write_about_the_same_players_all_the_time_a_lane_reads_for_a_while_and_longer_each_time(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(batch, "MEMORY_RESTS_SECONDS", (0.5, 30.0))
    player = await casino.player(main="10.00")

    async def bet_after_another(times: int) -> list[list[str]]:
        found = []
        for _ in range(times):
            await written_elsewhere(casino, player)
            found.append(await ways(player))
        return found

    await ways(player)
    refused = [["memory", "reads"]] * batch.MEMORY_REFUSED_MAX
    assert await bet_after_another(batch.MEMORY_REFUSED_MAX) == refused  # everybody is forgotten
    assert await ways(player) == ["memory"]  # and read for
    assert await bet_after_another(batch.MEMORY_REFUSED_MAX) == refused
    assert await ways(player) == ["reads"]
    await asyncio.sleep(0.6)
    assert await bet_after_another(batch.MEMORY_REFUSED_MAX) == refused
    await asyncio.sleep(0.6)
    assert await ways(player) == ["reads"]
    await asyncio.sleep(0.6)
    assert await ways(player) == ["memory"]


async def test_what_was_read_in_vain_is_locked_first_and_so_is_all_for_a_while(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(batch, "LOCKING_SECONDS", 1.5)
    player, other = await neighbours(casino, 2)
    await ways(player)
    await written_elsewhere(casino, player)
    read_facts = queries.read_facts

    async def read_early(*arguments: Any) -> None:
        await read_facts(*arguments)
        monkeypatch.setattr(queries, "read_facts", read_facts)
        await written_elsewhere(casino, player)  # between the second attempt's reading and its writing

    monkeypatch.setattr(queries, "read_facts", read_early)
    assert await ways(player) == ["memory", "reads", "locks"]
    assert await ways(other) == ["locks"]
    await asyncio.sleep(1.6)
    assert await ways(other) == ["memory"]


async def test_several_batchers_never_wait_for_each_other_in_a_circle(casino: Casino, database_url: str) -> None:
    players = [await casino.player(main="100.00", bonus="100.00") for _ in range(16)]
    async with AsyncExitStack() as stack:
        batchers = []
        for _ in range(3):
            database = await Database.connect(database_url, size_max=3, point_reads_only=True, statement_seconds=20)
            stack.push_async_callback(database.close)
            batchers.append(await stack.enter_async_context(Batcher(database, lanes=1)))

        async def play(number: int, turn: int) -> Answer:
            order = players if number % 2 else players[::-1]
            player = order[turn % len(players)]
            operations = Bet(f"b{number}-{turn}", Decimal(1)), Win(f"w{number}-{turn}", CENT)
            return await batchers[number].submit(player.command(*operations, round_key=f"{player.id}"))

        async with asyncio.timeout(60):
            answers = await asyncio.gather(*(play(n, turn) for turn in range(200) for n in range(3)))
    assert len(answers) == 600
    row = await casino.database.fetchrow("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert row is not None
    assert row[0] == 0
    assert sum([(await player.balance("main")) + (await player.balance("bonus")) for player in players]) == (
        3200 - 600 + 600 * CENT
    )


async def test_with_several_passes_under_way_each_players_commands_keep_their_order(casino: Casino) -> None:
    players = await neighbours(casino, 3)
    left: dict[int, list[Decimal]] = {0: [], 1: [], 2: []}

    async def bet(which: int, number: int) -> None:
        player = players[which]
        answer = await batcher.submit(player.command(Bet(f"{which}-{number}", CENT), round_key=f"{which}-{number}"))
        left[which].append(answer.balance)

    async with Batcher(casino.database, lanes=3) as batcher:
        await asyncio.gather(*(bet(which, number) for number in range(100) for which in left))

    for balances in left.values():
        assert balances == [10 - CENT * number for number in range(1, 101)]


# A process beside others ------------------------------------------------------------------


async def test_a_busy_pass_waits_for_those_who_were_answered_and_have_more_to_ask(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "GATHER_SECONDS", 1.0)  # the clock decides nothing here but the end
    players = await neighbours(casino, 20)
    sizes: list[int] = []
    post_alone = batch.post_alone

    async def seen(database: Database, commands: Sequence[Command], lane: "batch._Lane | None" = None) -> batch.Passed:
        sizes.append(len(commands))
        return await post_alone(database, commands, lane)

    monkeypatch.setattr(batch, "post_alone", seen)

    async def bet(player: Player, pause: float) -> None:
        for number in range(10):
            await batcher.submit(player.command(Bet(f"{player.id}-{number}", CENT), round_key=f"{player.id}-{number}"))
            await asyncio.sleep(pause)

    async with Batcher(casino.database, lanes=1) as batcher:
        await asyncio.gather(*(bet(player, 0.0001 * number) for number, player in enumerate(players)))

    assert sum(sizes) == 200
    assert len(sizes) <= 20, sizes  # of 14 at least, but for the last ones


async def test_nobody_waits_for_anybody_where_few_are_there_or_it_has_been_quiet(
    casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    players = await neighbours(casino, 20)
    async with Batcher(casino.database, lanes=1) as batcher:
        for few in (1, 5):
            monkeypatch.setattr(batch, "GATHER_SECONDS", 30.0)
            for turn in range(3):
                commands = [
                    player.command(Bet(f"{few} {turn} {number}", CENT), round_key=f"{few} {turn} {number}")
                    for number, player in enumerate(players)
                ]
                async with asyncio.timeout(5):
                    await asyncio.gather(*(batcher.submit(command) for command in commands[:few]))
        monkeypatch.setattr(batch, "GATHER_SECONDS", 0.01)
        many = [player.command(Bet(f"{player.id}", CENT), round_key=f"{player.id}") for player in players]
        await asyncio.gather(*(batcher.submit(command) for command in many))
        await asyncio.sleep(0.1)
        monkeypatch.setattr(batch, "GATHER_SECONDS", 30.0)
        async with asyncio.timeout(5):
            await batcher.submit(players[0].command(Bet("alone", CENT)))

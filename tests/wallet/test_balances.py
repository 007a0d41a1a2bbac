"""Balances in Redis: never older over newer, and a Redis that is lost, frozen or wrong costs nothing but time."""

import asyncio
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
import redis as redis_client

from casino import Casino, Player
from countroom import clock
from countroom import redis as redis_tap
from countroom.embedded.valkey import Valkey
from countroom.postgres import Database
from countroom.redis import BALANCE_SECONDS, balance_key
from countroom.wallet import balances
from countroom.wallet.balances import READ_SECONDS, BalanceCache
from countroom.wallet.commands import Bet, Command, Play
from countroom.wallet.refusals import InsufficientFunds
from countroom.wallet.service import Batcher, spendable

WRITER = Path(__file__).with_name("racing_writer.py")
PATIENCE_SECONDS = 20
Answer = TypeVar("Answer")


@dataclass
class Changed:
    id: UUID
    balance: Decimal
    sequence: int


def changed(wallet_id: UUID, sequence: int) -> Changed:
    return Changed(wallet_id, Decimal(sequence).quantize(Decimal("0.01")), sequence)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey of this test's own, which it may freeze and kill."""
    server = Valkey(tmp_path / "data", "a-password-that-protects-nothing")
    (tmp_path / "data" / "logs").mkdir(parents=True)
    server.start()
    yield server
    if server.process is not None:
        server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads that wait for Redis, however busy the machine is: what the test is about is not the time."""
    monkeypatch.setattr(balances, "READ_SECONDS", 10.0)


@asynccontextmanager
async def _cache(url: str) -> AsyncIterator[BalanceCache]:
    async with redis_tap.connect(url) as client, BalanceCache(client) as cache:
        yield cache


def _kept(url: str, wallet_id: UUID) -> str | None:
    with closing(redis_client.Redis.from_url(url, decode_responses=True, socket_timeout=5)) as client:
        kept = client.get(balance_key(wallet_id))
    assert kept is None or isinstance(kept, str)
    return kept


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.02)


async def _main_wallet(player: Player) -> UUID:
    row = await player.casino.database.fetchrow(
        "SELECT id FROM wallet_accounts WHERE user_id = $1 AND type = 'main'", player.id
    )
    assert row is not None
    wallet_id: UUID = row["id"]
    return wallet_id


async def _shown(cache: BalanceCache, player: Player, database: Database | None = None) -> dict[str, str]:
    found = await cache.of_player(database or player.casino.database, player.id)
    return {one.type: str(one.balance) for one in found}


def test_writers_of_two_processes_never_leave_an_older_balance(redis_url: str) -> None:
    wallets = [clock.new_id() for _ in range(20)]
    sequences = 3_000
    processes = [
        subprocess.Popen([sys.executable, WRITER, redis_url, str(seed), str(sequences), *map(str, wallets)])
        for seed in (0, 1)
    ]
    seen = dict.fromkeys(wallets, 0)
    observed = 0
    with closing(redis_client.Redis.from_url(redis_url, decode_responses=True)) as client:
        while any(process.poll() is None for process in processes):
            for wallet in wallets:
                kept = client.get(balance_key(wallet))
                if isinstance(kept, str):
                    sequence = int(kept.partition(":")[0])
                    assert sequence >= seen[wallet]
                    observed += sequence > seen[wallet]
                    seen[wallet] = sequence
        assert [process.returncode for process in processes] == [0, 0]
        assert observed > len(wallets), "nobody looked while they wrote"
        assert {client.get(balance_key(wallet)) for wallet in wallets} == {f"{sequences}:30"}
        assert 0 < client.ttl(balance_key(wallets[0])) <= BALANCE_SECONDS


async def test_what_waits_again_is_never_older_than_what_came_meanwhile(valkey: Valkey) -> None:
    """A deposit's older balance may be told after a bet's newer one, which could not be written."""
    wallet_id = clock.new_id()
    async with _cache(valkey.url) as cache:
        valkey.stop()
        cache.changed([changed(wallet_id, 11)])
        await _until(lambda: wallet_id in cache._taken)
        cache.changed([changed(wallet_id, 10)])
        await _until(lambda: wallet_id in cache._pending and not cache._taken)

        valkey.start()

        await _until(lambda: _kept(valkey.url, wallet_id) is not None)
        assert _kept(valkey.url, wallet_id) == "11:11.00"


@pytest.mark.usefixtures("patient")
async def test_a_key_that_holds_no_balance_stands_in_nobodys_way(casino: Casino, redis_url: str) -> None:
    text, other_type, well = (clock.new_id() for _ in range(3))
    with closing(redis_client.Redis.from_url(redis_url)) as client:
        client.set(balance_key(text), "no balance")
        client.rpush(balance_key(other_type), "a list")
    async with _cache(redis_url) as cache:
        cache.changed(changed(wallet_id, 7) for wallet_id in (text, other_type, well))

        await _until(lambda: _kept(redis_url, well) == "7:7.00")
        assert [_kept(redis_url, wallet_id) for wallet_id in (text, other_type)] == ["7:7.00"] * 2

    player = await casino.player(main="5.00")
    wallet_id = await _main_wallet(player)
    async with _cache(redis_url) as cache:
        await _shown(cache, player)
        await _until(lambda: _kept(redis_url, wallet_id) is not None)
        with closing(redis_client.Redis.from_url(redis_url)) as client:
            client.set(balance_key(wallet_id), "1:five")
        assert (await _shown(cache, player))["main"] == "5.00"
        await _until(lambda: _kept(redis_url, wallet_id) == "1:5.00")


async def test_what_waits_for_redis_has_a_bound_and_the_newest_stay(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balances, "PENDING_MAX", 10)
    wallets = [clock.new_id() for _ in range(40)]
    async with _cache(valkey.url) as cache:
        valkey.stop()
        for wallet_id in wallets:
            cache.changed([changed(wallet_id, 1)])
            assert len(cache._pending) <= 10
            await asyncio.sleep(0.03)  # some are taken, fail, and wait again

        await asyncio.sleep(balances.RETRY_SECONDS)
        assert len(cache._pending) + len(cache._taken) <= 20
        valkey.start()

        await _until(lambda: _kept(valkey.url, wallets[-1]) is not None)
        await _until(lambda: not cache._pending and not cache._taken)
        assert [_kept(valkey.url, wallet_id) is not None for wallet_id in wallets[-9:]] == [True] * 9


async def test_a_process_that_ends_writes_what_still_waits(redis_url: str) -> None:
    wallets = [clock.new_id() for _ in range(2_000)]
    async with _cache(redis_url) as cache:
        cache.changed(changed(wallet_id, 3) for wallet_id in wallets)

    assert {_kept(redis_url, wallet_id) for wallet_id in wallets} == {"3:3.00"}


@pytest.mark.usefixtures("patient")
async def test_balances_are_read_from_redis_once_it_has_them(casino: Casino, redis_url: str, database_url: str) -> None:
    player = await casino.player(main="5.00")
    nobody_answers = await Database.connect(database_url)
    await nobody_answers.close()
    async with _cache(redis_url) as cache:
        assert await _shown(cache, player) == {"main": "5.00", "bonus": "0.00", "locked": "0.00"}
        locked = (await cache.of_player(casino.database, player.id))[-1]
        await _until(lambda: _kept(redis_url, locked.id) is not None)

        assert await _shown(cache, player, nobody_answers) == {"main": "5.00", "bonus": "0.00", "locked": "0.00"}


@pytest.mark.usefixtures("patient")
async def test_a_process_sees_its_own_bets_before_redis_does(casino: Casino, valkey: Valkey) -> None:
    player = await casino.player(main="5.00")
    assert valkey.process is not None
    async with _cache(valkey.url) as cache:
        casino.batcher.on_change = cache.changed
        wallet_id = await _main_wallet(player)
        await _shown(cache, player)
        await _until(lambda: _kept(valkey.url, wallet_id) is not None)
        for number in range(50):
            await player.bet("0.10", f"b{number}")
            assert (await _shown(cache, player))["main"] == str(await player.balance())


@pytest.mark.usefixtures("patient")
async def test_a_redis_that_was_emptied_is_filled_again(casino: Casino, redis_url: str) -> None:
    player = await casino.player(main="5.00")
    wallet_id = await _main_wallet(player)
    async with _cache(redis_url) as cache:
        for _ in range(2):
            assert (await _shown(cache, player))["main"] == "5.00"
            await _until(lambda: _kept(redis_url, wallet_id) == "1:5.00")
            with closing(redis_client.Redis.from_url(redis_url)) as client:
                client.flushall()
                client.script_flush()


async def test_a_killed_redis_makes_reads_slower_by_a_bound_and_is_used_again(casino: Casino, valkey: Valkey) -> None:
    player = await casino.player(main="5.00")
    wallet_id = await _main_wallet(player)
    async with _cache(valkey.url) as cache:
        casino.batcher.on_change = cache.changed
        await _shown(cache, player)
        await _until(lambda: _kept(valkey.url, wallet_id) == "1:5.00")
        assert valkey.process is not None
        valkey.process.kill()
        valkey.process.wait()

        for number in range(20):
            await player.bet("0.10", f"b{number}")
            assert (await _shown(cache, player))["main"] == str(await player.balance())
        valkey.start()

        await _until(lambda: _kept(valkey.url, wallet_id) == "21:3.00")
        assert (await _shown(cache, player))["main"] == "3.00"


async def test_no_decision_about_money_reads_a_cached_balance(casino: Casino, redis_url: str) -> None:
    player = await casino.player(main="1.00")
    wallet_id = await _main_wallet(player)
    with closing(redis_client.Redis.from_url(redis_url)) as client:
        client.set(balance_key(wallet_id), "99:1000.00")
    async with _cache(redis_url) as cache:
        casino.batcher.on_change = cache.changed

        with pytest.raises(InsufficientFunds):
            await player.bet("5.00", "b1")
        assert await spendable(casino.database, player.id, "EUR") == Decimal("1.00")


async def test_a_frozen_redis_costs_no_bet_and_no_answer(casino: Casino, database_url: str, valkey: Valkey) -> None:
    """Five seconds of a stopped Redis under load, and what bets and reads say before, meanwhile and afterwards."""
    players = [await casino.player(main="10000.00") for _ in range(8)]
    assert valkey.process is not None
    database = await Database.connect(database_url, size_max=4)
    async with _cache(valkey.url) as cache, Batcher(database, on_change=cache.changed) as batcher:
        load = _Load(players, batcher, cache)
        await load.run(2.0)  # connections and plans are made
        usual = await load.run(3.0)

        valkey.process.send_signal(signal.SIGSTOP)
        frozen = await load.run(5.0)
        valkey.process.send_signal(signal.SIGCONT)

        for player in players:
            wallet_id = await _main_wallet(player)
            row = await database.fetchrow("SELECT sequence, balance FROM wallet_accounts WHERE id = $1", wallet_id)
            assert row is not None
            await _until(lambda: _kept(valkey.url, wallet_id) == f"{row['sequence']}:{row['balance']}")  # noqa: B023
    await database.close()

    assert len(frozen.bets) > 200
    assert len(frozen.reads) > 200
    # Other work on the machine makes single bets slow; a wait for Redis would make all of them slow, or by seconds.
    assert statistics.median(frozen.bets) < 3 * statistics.median(usual.bets) + 0.02
    assert max(frozen.bets) < max(1.0, 3 * max(usual.bets))
    assert statistics.median(frozen.reads) < 3 * statistics.median(usual.reads) + 0.02
    waited = [seconds for seconds in frozen.reads if seconds >= READ_SECONDS]
    assert len(waited) <= len(frozen.reads) / 20, "more than those who try Redis again waited for it"


@dataclass
class _Times:
    bets: list[float]
    reads: list[float]


class _Load:
    """Players who bet and look at their balances, one thing after the other; every answer is checked."""

    def __init__(self, players: list[Player], batcher: Batcher, cache: BalanceCache) -> None:
        self.players = players
        self.batcher = batcher
        self.cache = cache
        self.bets_made = dict.fromkeys([player.id for player in players], 0)

    async def run(self, seconds: float) -> _Times:
        times = _Times([], [])
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._play(player, until, times) for player in self.players))
        return times

    async def _play(self, player: Player, until: float, times: _Times) -> None:
        while time.monotonic() < until:
            number = self.bets_made[player.id] = self.bets_made[player.id] + 1
            key = f"{player.id}-{number}"
            command = Command(
                "sandbox", player.id, "EUR", (Bet(key, Decimal("0.10")),),
                Play(player.casino.game_id, f"{player.id}-{number // 10}", player.session_id),
            )  # fmt: skip
            answer = await _timed(times.bets, self.batcher.submit(command))
            shown = await _timed(times.reads, _shown(self.cache, player))
            assert shown["main"] == str(answer.balance)


async def _timed(times: list[float], asked: Awaitable[Answer]) -> Answer:
    began = time.perf_counter()
    answer = await asked
    times.append(time.perf_counter() - began)
    return answer

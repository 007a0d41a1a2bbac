"""The write path: commands of all open requests, applied together.

Phases of one pass, each a statement or two (round trips) inside one transaction:

1. lock the wallets of the batch's players, in id order;
2. read what the keys have done before, and tombstones;
3. read players, sessions and rounds;
4. decide (`rules.Ledger`, no I/O) — a refusal drops its command and nothing else;
5. write everything: transactions, journal, balances, rounds, session sums;
6. commit, and only then answer.

What bounds it: the log flush of phase 6 is shared by the batch, which is where the gain over
row-by-row posting comes from. There is no timer: a lane takes whatever is waiting as soon as it
is free, so an idle system answers one command in one pass, and a busy one collects while the
pass before it commits. All of a player's commands are ordered by the locks of phase 1, in
whichever process they arrive.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Self

import asyncpg
import structlog

from countroom import clock
from countroom.postgres import Database, Transaction
from countroom.refusal import Refusal
from countroom.wallet import queries
from countroom.wallet.commands import Answer, Command, Overloaded
from countroom.wallet.rules import Ledger
from countroom.wallet.state import Facts, Wallet

BATCH_MAX: Final = 250
"""Commands a pass takes: beyond this its latency grows and its cost per command does not fall."""
WAITING_MAX: Final = 2_000
"""Commands that may wait for a lane: about half a second of work; more would be answered too late anyway."""
LANES: Final = 2
"""Passes under way at once in a process: one decides while PostgreSQL writes the other's. A player's
commands are always in the same lane: two passes with one wallet would only wait for each other."""
COLLECT_AFTER: Final = 50_000
"""New objects before Python looks for cycles among them."""
STATEMENT_SECONDS: Final = 5.0
"""A statement of a pass that takes longer is given up: no provider waits longer than 15 s for an
answer, and a command may have waited for the pass before its own."""
ATTEMPTS_MAX: Final = 3
"""A pass is read anew when another process has just used one of its keys; then singly."""

_log = structlog.get_logger()

Outcome = Answer | Refusal


async def post(tx: Transaction, commands: Sequence[Command]) -> tuple[list[Outcome], list[Wallet]]:
    """Apply commands inside the caller's transaction; return their outcomes and the wallets changed.

    Raises:
        asyncpg.UniqueViolationError: another process has used one of the keys meanwhile; the
            transaction is lost, and a new one will see what that was.
    """
    facts = Facts()
    await queries.lock_wallets(tx, commands, facts)
    await queries.read_keys(tx, commands, facts)
    await queries.read_plays(tx, commands, facts)
    moment = clock.now()
    ledger = Ledger(facts, moment=moment, new_id=clock.new_id)
    outcomes: list[Outcome] = []
    for command in commands:
        try:
            outcomes.append(ledger.apply(command))
        except Refusal as refusal:
            outcomes.append(refusal)
    if not ledger.writes.is_empty():
        await queries.write(tx, ledger.writes, moment)
    return outcomes, list(ledger.writes.wallets.values())


async def post_alone(database: Database, commands: Sequence[Command]) -> tuple[list[Outcome], list[Wallet]]:
    """Apply commands in a transaction of their own, reading anew when a key was just taken elsewhere.

    What one command alone cannot get written (a fault, not a refusal) is raised for a batch of one,
    and for a larger batch tried singly, so that it costs nobody else.
    """
    for _ in range(ATTEMPTS_MAX):
        try:
            async with database.transaction() as tx:
                return await post(tx, commands)
        except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError):
            continue
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError):
            break
    if len(commands) == 1:
        async with database.transaction() as tx:
            return await post(tx, commands)
    outcomes: list[Outcome] = []
    changed: list[Wallet] = []
    for command in commands:
        try:
            one, wallets = await post_alone(database, [command])
        except asyncpg.PostgresError:
            _log.exception("a command could not be written", source=command.source)
            one, wallets = [Overloaded("This could not be written; try again.")], []
        outcomes += one
        changed += wallets
    return outcomes, changed


class _Lane:
    """What waits for one of the passes."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Command, asyncio.Future[Outcome]]] = deque()
        self.wake = asyncio.Event()


def collect_rarely() -> None:
    """Spare a process that runs a batcher most of Python's searches for reference cycles.

    Commands and answers are freed by reference counting. With the default threshold of 700 new
    objects the searches were a twelfth of a bet's time; what exists now is never searched again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


class Batcher:
    """Collects commands and applies them together. One in each process; several never deadlock."""

    def __init__(
        self, database: Database, *, on_change: Callable[[Sequence[Wallet]], None] = lambda _wallets: None
    ) -> None:
        self.database = database
        self.on_change = on_change
        """Hears, after each commit, which wallets it changed; must return at once."""
        self._lanes = [_Lane() for _ in range(LANES)]
        self._running: list[asyncio.Task[None]] = []
        self._closing = False

    async def __aenter__(self) -> Self:
        """Start the lanes."""
        self._running = [asyncio.create_task(self._run(lane)) for lane in self._lanes]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take nothing more, finish what was taken, and stop."""
        self._closing = True
        for lane in self._lanes:
            lane.wake.set()
        await asyncio.gather(*self._running)

    async def submit(self, command: Command) -> Answer:
        """Apply one command together with whatever else is waiting.

        Giving up on the answer (a cancelled request) does not stop a write that has begun.

        Raises:
            WalletRefusal: the command is refused; nothing has moved.
            Overloaded: too much is waiting, or the process is stopping; nothing was accepted.
        """
        lane = self._lanes[hash(command.user_id) % LANES]
        if self._closing or len(lane.waiting) >= WAITING_MAX:
            raise Overloaded
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        lane.waiting.append((command, future))
        lane.wake.set()
        outcome = await future
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    async def _run(self, lane: "_Lane") -> None:
        waiting = lane.waiting
        while True:
            if not waiting:
                if self._closing:
                    return
                lane.wake.clear()
                await lane.wake.wait()
                continue
            taken = [waiting.popleft() for _ in range(min(BATCH_MAX, len(waiting)))]
            try:
                outcomes, wallets = await post_alone(self.database, [command for command, _ in taken])
            except Exception as error:  # noqa: BLE001 - whatever it was, every caller gets an answer
                _log.warning("a pass failed", commands=len(taken), error=repr(error))
                outcomes, wallets = [Overloaded("The wallet cannot be reached; try again.") for _ in taken], []
                await asyncio.sleep(0.05)  # a database that is away must not make this loop spin
            self.on_change(wallets)
            for (_, future), outcome in zip(taken, outcomes, strict=True):
                if not future.done():  # its caller may have gone
                    future.set_result(outcome)

"""What providers call and how they are answered: counted in memory, and put where all web processes see it.

A callback pays for three additions and an append (`Tally.answered`): nothing is copied, decoded or written while it is
answered. Every two seconds the background (`Recorder`) writes what has changed since: counts as they are, and the last
few raw exchanges with their secrets masked. A process that is killed loses two seconds of counts; nothing here is truth
(docs/decisions/0021).
"""

import asyncio
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

import msgspec
import structlog

from countroom import clock
from countroom.games import masking
from countroom.games import recording_queries as queries
from countroom.games.catalog import Catalog, Provider
from countroom.games.dialects import DIALECTS, Callback, Reply
from countroom.games.keys import print_of
from countroom.postgres import Database
from countroom.wallet.commands import Answer, Command, Reverse

BOUNDS: Final = (
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0065, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04,
    0.05, 0.065, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 2.0, 8.0,
)  # fmt: skip
"""Seconds up to which an answer may have taken to be counted in a place; one place more is for what took longer.
A third apart at most, so a percentile is known to about a sixth."""
FLUSH_SECONDS: Final = 2.0
FINE_CODES: Final = frozenset({"OK", "RS_OK"})
"""Codes of a dialect that refuse nothing."""
FINE_KEPT: Final = 10
REFUSED_KEPT: Final = 15
"""Exchanges of a provider that a process keeps between two writes: of refused ones more, since those are looked for."""
EXCHANGES_MAX: Final = 200
"""Of all providers that one write takes: however many there are, it costs no more."""
BODY_BYTES_KEPT: Final = 4_096
RETAINED: Final = 200
"""Fine exchanges of a provider that are kept, and as many refused ones: those are rare, and looked for longer."""
RETAINED_FOR: Final = timedelta(hours=24)
MINUTES_RETAINED: Final = timedelta(hours=3)
TOMBSTONE: Final = "tombstone left"
"""Counted with the wallet's refusals: a reversal of something that had not come."""
LATE: Final = "late, moved nothing"
"""Counted so, too: what was reversed before it came, where the dialect accepts that."""

_log = structlog.get_logger()
_encode: Final = msgspec.json.Encoder().encode


class Exchange(NamedTuple):
    """A call and its answer, as they are in memory: references, and no copy."""

    at: float
    """Unix time of the answer."""
    callback: Callback
    reply: Reply
    seconds: float


class Tally:
    """What one provider has called of this process, since it began."""

    __slots__ = ("answers", "counts", "fine", "outcomes", "refused", "seconds")

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], int] = {}
        """By action and the dialect's code."""
        self.outcomes: dict[str, int] = {}
        """What the wallet refused, by its own code, and tombstones."""
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.fine: deque[Exchange] = deque(maxlen=FINE_KEPT)
        self.refused: deque[Exchange] = deque(maxlen=REFUSED_KEPT)

    def answered(self, action: str, callback: Callback | None, reply: Reply, seconds: float) -> None:
        """Count an answer, and keep it for a while. This is what a callback pays."""
        outcome = (action, reply.code)
        self.answers[outcome] = self.answers.get(outcome, 0) + 1
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        if callback is not None:
            body = callback.body
            if body is not None and len(body) > BODY_BYTES_KEPT:
                callback = replace(callback, body=body[: BODY_BYTES_KEPT + 1])
            kept = self.fine if reply.code in FINE_CODES else self.refused
            kept.append(Exchange(time.time(), callback, reply, seconds))

    def note(self, outcome: str) -> None:
        """Count something that the wallet did not simply do."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def met(self, command: Command, answer: Answer) -> None:
        """Count what an answer says of tombstones; of a repeat nothing new."""
        if answer.repeated:
            return
        for operation, posted in zip(command.operations, answer.operations, strict=True):
            if posted.id is None:
                self.note(TOMBSTONE if isinstance(operation, Reverse) else LATE)

    def drain(self) -> list[Exchange]:
        """Take what is kept, in the order of time."""
        taken = sorted((*self.fine, *self.refused), key=lambda one: one.at)
        self.fine.clear()
        self.refused.clear()
        return taken


class _Written(NamedTuple):
    """Where a tally stood, in the form of its row."""

    answers: dict[str, int]
    refusals: dict[str, int]
    seconds: list[int]

    def since(self, before: "_Written") -> "_Written":
        return _Written(
            _difference(self.answers, before.answers),
            _difference(self.refusals, before.refusals),
            [now - then for now, then in zip(self.seconds, before.seconds, strict=True)],
        )


_NOTHING: Final = _Written({}, {}, [0] * (len(BOUNDS) + 1))


class Recorder:
    """The tallies of a process, and the background that writes them."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self.database = database
        self.catalog = catalog
        self.tallies: dict[str, Tally] = {}
        self.process = clock.new_id()
        self._minute = datetime.min.replace(tzinfo=UTC)
        self._begun: dict[str, _Written] = {}
        """Where each tally stood when this minute began."""
        self._last: dict[str, _Written] = {}
        """Where each stood when it was written last."""
        self._is_away = False
        self._lock = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None

    def of(self, provider: str) -> Tally:
        """Return a provider's tally."""
        tally = self.tallies.get(provider)
        if tally is None:
            tally = self.tallies[provider] = Tally()
        return tally

    async def __aenter__(self) -> Self:
        """Begin to write."""
        self._writing = asyncio.create_task(self._write_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and write what there is."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._try()

    async def flush(self) -> None:
        """Write what has changed, now; when this returns, what was counted before it is there for everybody."""
        async with self._lock:  # a slow write must not put older counts over newer ones
            await self._flush()

    async def _flush(self) -> None:
        minute = clock.now().replace(second=0, microsecond=0)
        is_new = minute != self._minute
        if is_new:
            # What was counted since the last write is counted in the new minute: two seconds' difference at most.
            self._minute, self._begun = minute, dict(self._last)
        known = self.catalog.providers.keys()
        stands = {code: _standing(tally) for code, tally in self.tallies.items() if code in known}
        changed = {code: now for code, now in stands.items() if now != self._last.get(code, _NOTHING)}
        if changed:
            rows = [(code, now.since(self._begun.get(code, _NOTHING))) for code, now in changed.items()]
            await queries.write_minutes(
                self.database, minute, self.process,
                providers=[code for code, _ in rows],
                answers=[_encode(row.answers).decode() for _, row in rows],
                refusals=[_encode(row.refusals).decode() for _, row in rows],
                seconds=["{" + ",".join(map(str, row.seconds)) + "}" for _, row in rows],
            )  # fmt: skip
            self._last |= changed
            await self._write_exchanges(changed.keys())
        if is_new:
            await queries.forget_older(
                self.database, minutes_before=minute - MINUTES_RETAINED, exchanges_before=minute - RETAINED_FOR
            )

    async def _write_exchanges(self, providers: Iterable[str]) -> None:
        codes = list(providers)
        most = max(2, EXCHANGES_MAX // len(codes))
        rows: list[tuple[Any, ...]] = []
        for code in codes:
            provider = self.catalog.providers.get(code)
            taken = self.tallies[code].drain()[-most:]
            if provider is not None:
                rows += [_row(provider, one) for one in taken]
            await asyncio.sleep(0)  # callbacks go first
        if rows:
            await queries.write_exchanges(self.database, rows)
            await queries.forget_more_than(self.database, codes, RETAINED, sorted(FINE_CODES))

    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._try()

    async def _try(self) -> None:
        try:
            await self.flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, callbacks go on, and the next write tries again
            if not self._is_away:
                _log.warning("what providers called could not be written", error=repr(error))
            self._is_away = True
        else:
            self._is_away = False


def _standing(tally: Tally) -> _Written:
    answers = {f"{action} {code}": count for (action, code), count in tally.answers.items()}
    return _Written(answers, dict(tally.outcomes), list(tally.counts))


def _difference(now: Mapping[str, int], then: Mapping[str, int]) -> dict[str, int]:
    return {name: more for name, count in now.items() if (more := count - then.get(name, 0))}


def _row(provider: Provider, one: Exchange) -> tuple[Any, ...]:
    callback, reply = one.callback, one.reply
    body = callback.body
    length = callback.headers.get(b"content-length", b"")
    is_cut = body is not None and len(body) > BODY_BYTES_KEPT
    size = int(length) if is_cut and length.isdigit() and len(length) < 10 else len(body or b"")  # noqa: PLR2004
    return (
        clock.new_id(), provider.code, datetime.fromtimestamp(one.at, UTC), masking.text(callback.action),
        callback.method, masking.query(callback.query), _encode(masking.headers(callback.headers)).decode(),
        masking.body(body[:BODY_BYTES_KEPT]) if body is not None else "", None if body is None else size, reply.status,
        reply.code, masking.body(reply.body[:BODY_BYTES_KEPT]), len(reply.body), int(one.seconds * 1_000_000),
        None if is_cut else key_of(provider, callback),
    )  # fmt: skip


def key_of(provider: Provider, callback: Callback) -> str | None:
    """Return the print of the provider's key that has signed a call; None when none has."""
    dialect = DIALECTS.get(provider.dialect)
    if dialect is None:
        return None
    for key in provider.signing_keys:
        if dialect.admits(replace(provider, signing_keys=(key,)), callback):
            return print_of(key)
    return None


# Reading -------------------------------------------------------------------------------------


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Return how many seconds this share of the answers took at most, as near as the places are; None of nothing."""
    wanted = sum(counts) * share
    if not wanted:
        return None
    passed = 0
    for number, count in enumerate(counts):
        if count and passed + count >= wanted:
            low = BOUNDS[number - 1] if number else 0.0
            high = BOUNDS[number] if number < len(BOUNDS) else BOUNDS[-1]
            return low + (high - low) * (wanted - passed) / count
        passed += count
    return BOUNDS[-1]

"""Following the log into a sink: the one way of the direct pipeline and of the relay.

    slot → decode → sink → settle → confirm the slot

A position is confirmed only after the sink has settled everything before it. Whatever is killed, at
whatever step, the log is read again from the last confirmed position; what arrives twice carries the
same identity and version.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from countroom.events import meters, pulse, wal

FLUSH_SECONDS: Final = 0.2
"""The least time between two settlements under load. A lone commit after a pause is settled at once."""
ROWS_BETWEEN_LOOKS: Final = 1_024
"""Rows of one transaction after which the clock is looked at, for the sake of those before it."""
IDLE_SECONDS: Final = 1.0
"""How long an idle stream waits before it looks whether it should stop."""
BUSY_SECONDS: Final = 0.01
"""How long it waits before it looks whether the sink is done."""
RETRY_FIRST_SECONDS: Final = 0.2
"""First pause before another attempt; each is twice the one before."""

_log = structlog.get_logger("stream")


class Sink(Protocol):
    """Where messages go."""

    @property
    def rows(self) -> int:
        """Messages that were added since it was last told to settle."""

    @property
    def is_full(self) -> bool:
        """Whether it must settle before it takes more in, however long the transaction is."""

    @property
    def is_busy(self) -> bool:
        """Whether something is not yet safe of what it was told to settle."""

    def add(self, message: wal.Message) -> None:
        """Take a message in."""

    def settle(self, commit: wal.Commit | None) -> None:
        """Begin to make safe what was added, and to note that nothing up to this commit is missing then.

        May return before that is done, and waits first for what it was told before. Raises what the driver of this
        sink lets pass.
        """

    def settled(self, *, wait: bool) -> wal.Commit | None:
        """Return the last commit that has become safe since this was last asked; raises as ``settle`` does."""


class Stream:
    """Follows an open stream into a sink."""

    def __init__(self, reader: wal.Reader, sink: Sink, busy_seconds: float = FLUSH_SECONDS) -> None:
        """Follow it; ``busy_seconds`` is the least time between two settlements while there is more to read."""
        self._reader = reader
        self._sink = sink
        self._busy_seconds = busy_seconds
        self._commit: wal.Commit | None = None
        """The last transaction that was read to its end and is not yet being settled."""
        self._settled_at = 0.0

    def follow(self, stop: threading.Event) -> None:
        """Move changes until ``stop`` is set, then settle what is complete."""
        pulse.say("following")
        read, add, message, commit = self._reader.read, self._sink.add, wal.Message, wal.Commit
        rows = 0
        while not stop.is_set():
            item = read()
            kind = type(item)
            if kind is message:
                add(item)  # type: ignore[arg-type]
                rows += 1
                if rows % ROWS_BETWEEN_LOOKS == 0:
                    self._look()
            elif kind is commit:
                self._commit = item  # type: ignore[assignment]
                self._look()
            elif item is wal.Nothing.IDLE:
                self._idle()
        self._settle()
        self._confirm(wait=True)

    def _look(self) -> None:
        """Do what is due while there may be more to read."""
        self._confirm()
        if self._sink.is_full:
            self._settle(always=True)
        elif self._commit is not None and self._due(self._busy_seconds) <= 0 and not self._sink.is_busy:
            self._settle()

    def _due(self, seconds: float = FLUSH_SECONDS) -> float:
        """Return in how many seconds the next settlement may happen."""
        return self._settled_at + seconds - time.monotonic()

    def _idle(self) -> None:
        self._confirm()
        if self._sink.is_busy:
            self._reader.wait(BUSY_SECONDS)
        elif self._commit is None:
            if self._sink.rows == 0:
                self._reader.confirm_idle()
            self._reader.wait(IDLE_SECONDS)
        elif (due := self._due()) > 0:
            self._reader.wait(due)
        else:
            self._settle()

    def _settle(self, *, always: bool = False) -> None:
        """Make safe, record, confirm: in this order."""
        if self._commit is not None or always:
            commit, self._commit = self._commit, None
            self._sink.settle(commit)
            self._settled_at = time.monotonic()
            self._confirm()

    def _confirm(self, *, wait: bool = False) -> None:
        commit = self._sink.settled(wait=wait)
        if commit is not None:
            self._reader.confirm(commit.lsn)


def keep_trying(
    session: Callable[[], None], passing: tuple[type[Exception], ...], stop: threading.Event, longest_seconds: float
) -> None:
    """Run sessions until ``stop`` is set; after an error that passes by itself, another one after a pause."""
    pause = RETRY_FIRST_SECONDS
    while not stop.is_set():
        started = time.monotonic()
        try:
            session()
        except passing as error:
            meters.interruptions.labels(type(error).__name__).inc()
            pulse.say("waiting" if isinstance(error, wal.SlotInUseError) else "retrying", _first_line(error))
            if time.monotonic() - started > longest_seconds:
                pause = RETRY_FIRST_SECONDS
            if pause < longest_seconds:  # an outage is said a few times, not for as long as it lasts
                _log.warning("the stream stopped; trying again", reason=_first_line(error), seconds=pause)
            stop.wait(pause)
            pause = min(pause * 2, longest_seconds)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]

"""Deciding what the pipeline's figures mean: pure, for the page, the metrics and the alarm alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["good", "warning", "bad", "unknown"]
LEVELS: Final[tuple[Level, ...]] = ("good", "unknown", "warning", "bad")
"""From the best to the worst."""
GONE_SECONDS: Final = 4.0
"""Processes speak every second; who has not for so long is gone, or cannot reach PostgreSQL."""
CANARY_SECONDS: Final = 1.0
"""How often a canary is sent."""
CANARY_SILENT_SECONDS: Final = 10.0
"""Nobody sends canaries, if none was sent for so long: nothing that could runs, or the schema is older."""
MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """What is known of the canaries of some seconds."""

    longest: float | None
    """How long the slowest of those needed that arrived then; None when none did."""
    newest_sent_at: float | None
    """When the newest of them was sent, seconds since 1970."""
    has_sent: bool
    """Whether one was sent then that has arrived, then or later."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From where a lag is worth a word, and an alarm."""

    warn_bytes: int
    alarm_bytes: int
    warn_seconds: float
    alarm_seconds: float


def seconds_behind(
    *, arrived_sent_at: float | None, arrived_seconds: float, sent_at: float, moment: float
) -> float | None:
    """Return how far the warehouse is behind now: the age of the oldest canary that has not arrived.

    When all have, it is what the newest one needed. None before the first has arrived. Moments are PostgreSQL's,
    in seconds since 1970.
    """
    if arrived_sent_at is None:
        return None
    if sent_at <= arrived_sent_at:
        return arrived_seconds
    # The one after the newest that arrived was sent about a second later, and not before the last that was sent.
    return max(moment - min(arrived_sent_at + CANARY_SECONDS, sent_at), 0.0)


def course(
    steps: Mapping[int, Step], *, first: int, last: int, step_seconds: int, sent_at: float, moment: float
) -> list[float | None]:
    """Return the lag at each step from ``first`` to ``last`` (when they begin, seconds since 1970).

    Where canaries arrived it is what the slowest of them needed, or longer if the next one was already waiting.
    Where none arrived although some had been sent, it is how long the oldest had been waiting. Where none was
    sent, nobody knows.
    """
    lags: list[float | None] = []
    newest = max((step.newest_sent_at or 0 for began, step in steps.items() if began < first), default=0)
    last_arrival = max((began for began, step in steps.items() if step.longest is not None), default=0)
    for began in range(first, last + 1, step_seconds):
        step = steps.get(began)
        end = min(began + step_seconds, moment)
        if step is not None and step.longest is not None:
            lags.append(step.longest)
            newest = max(newest, step.newest_sent_at or 0)
        elif newest and (step is not None or last_arrival < began <= sent_at) and end > newest + CANARY_SECONDS:
            lags.append(end - newest - CANARY_SECONDS)
        else:
            lags.append(None)
    return lags


def is_alive(silent_seconds: float, *, has_ended: bool) -> bool:
    """Whether a process that spoke so long ago still runs."""
    return not has_ended and silent_seconds <= GONE_SECONDS


def slot_level(
    *, status: str, unconfirmed_bytes: int, safe_bytes: int | None, is_active: bool, limits: Limits
) -> tuple[Level, str]:
    """Return how a slot stands, and the sentence that says so."""
    if status == "lost":
        return "bad", "PostgreSQL has removed log that was not read: the tables must be copied again"
    if status == "unreserved" or (safe_bytes is not None and safe_bytes <= 0):
        return "bad", "PostgreSQL may remove log that was not read at any moment: start whoever reads it"
    if unconfirmed_bytes >= limits.alarm_bytes:
        return "bad", "Far more log waits than should"
    if unconfirmed_bytes >= limits.warn_bytes:
        return "warning", "More log waits than usual"
    if not is_active:
        return "warning", "Nobody reads the log; PostgreSQL keeps it"
    return "good", "The log is read as it is written"


def lag_level(seconds: float | None, limits: Limits) -> Level:
    """Return how a lag in seconds stands."""
    if seconds is None:
        return "unknown"
    if seconds >= limits.alarm_seconds:
        return "bad"
    return "warning" if seconds >= limits.warn_seconds else "good"


def worst(*levels: Level) -> Level:
    """Return the worst of some levels."""
    return max(levels, key=LEVELS.index)

"""What the pipeline's page shows, as plain values. Nothing here asks anybody."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from countroom.proof import KeptProof
from countroom.warehouse import rules
from countroom.warehouse.rules import Level, Limits
from countroom.warehouse.watch import Canaries, OpenLetter, Process, SlotState
from countroom.web.backoffice.views import ago, bytes_text, seconds_text, whole

REMEMBERED_SECONDS: Final = 600.0
"""How long a process that is gone or has ended is still listed."""
STEP_SECONDS: Final = 10
"""One point of the chart."""
STEPS_SHOWN: Final = 180
"""Half an hour."""
LETTERS_SHOWN: Final = 20
ROLES: Final = {"pipeline": "Pipeline", "relay": "Relay", "debezium": "Debezium", "load": "Loader"}
COMMANDS: Final = {role: f"countroom {role}" for role in ROLES}
WAITING_PLACES: Final = {**dict.fromkeys(("pipeline", "relay", "debezium"), "PostgreSQL's log"), "load": "Kafka"}
"""Where facts wait while nobody of a role runs."""
NONE: Final = "–"  # noqa: RUF001 - a dash for "no figure"


@dataclass(frozen=True, slots=True)
class Stage:
    """A station on the way from PostgreSQL to ClickHouse."""

    name: str
    title: str
    level: Level
    standing: str
    """Its state in a word or two."""
    figure: str
    unit: str
    note: str


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """A process of the pipeline."""

    id: str
    role: str
    where: str
    level: Level
    standing: str
    spoke: str
    rate: str
    batch: str
    settled: str
    troubles: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Way:
    """The whole way, and the sentence over it."""

    level: Level
    sentence: str
    stages: list[Stage]
    processes: list[ProcessLine]


@dataclass(frozen=True, slots=True)
class SlotView:
    """The slot, in words and in figures."""

    level: Level
    sentence: str
    name: str
    reader: str
    unconfirmed: str
    retained: str
    keep: str
    share: int | None
    """Per cent of what may be kept, for a bar; None without a limit."""
    warn: str
    alarm: str


@dataclass(frozen=True, slots=True)
class LetterLine:
    """A dead letter in the list."""

    id: str
    topic: str
    place: str
    since: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProofLine:
    """What comparing both stores found last."""

    level: Level
    scope: str
    sentence: str
    when: str
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What each station of the way says of itself."""

    processes: Sequence[Process]
    """Those that are remembered."""
    slot: SlotState | None
    canaries: Canaries | None
    """What the warehouse has of them; None: it does not answer."""
    behind: float | None
    """How far the warehouse is behind, in seconds, where that is known."""
    waiting: tuple[int, float] | None
    """Messages in Kafka that the loaders knew of, and how long ago they said so."""


def way(seen: Seen, limits: Limits, *, through_kafka: bool) -> Way:
    """Draw the way that facts take; it goes through Kafka where the settings name one, or a process says so."""
    ours = [process for process in seen.processes if process.role in ROLES]
    alive = [one for one in ours if _is_alive(one)]
    if through_kafka or any(one.role in {"relay", "debezium", "load"} for one in alive):
        movers = [_relay(alive, ours, seen.slot), _kafka(seen.waiting, alive), _movers("load", alive, ours)]
    else:
        movers = [_movers("pipeline", alive, ours)]
    stages = [_postgresql(seen.slot, limits), *movers, _clickhouse(seen.canaries, seen.behind, limits)]
    if not ours and seen.slot is None:
        return Way("unknown", "Nothing carries facts yet", stages, [])
    return Way(*_verdict(stages, alive, seen.behind), stages, _lines(ours))


def _is_alive(process: Process) -> bool:
    return rules.is_alive(process.silent_seconds, has_ended=process.ended_at is not None)


def _postgresql(slot: SlotState | None, limits: Limits) -> Stage:
    if slot is None:
        return Stage("postgresql", "PostgreSQL", "unknown", "no slot yet", NONE, "", "the first start makes one")
    level, _ = _slot_level(slot, limits)
    standing = "its log is read" if slot.is_active else "nobody reads its log"
    figure, unit = bytes_text(slot.unconfirmed_bytes).split(" ")
    note = "log to read" if slot.status == "reserved" else f"log to read; the slot is {slot.status}"
    return Stage("postgresql", "PostgreSQL", level, standing, figure, unit, note)


def _movers(role: str, alive: Sequence[Process], known: Sequence[Process]) -> Stage:
    """One box for all processes of a role."""
    title = ROLES[role]
    running = [one for one in alive if one.role == role]
    if not running:
        gone = min((one.silent_seconds for one in known if one.role == role), default=None)
        standing = "not started" if gone is None else f"gone, last heard {_duration(gone)} ago"
        return Stage(role, title, "bad", standing, "0", "rows/s", f"start {COMMANDS[role]}")
    rate = sum(one.figures.get("rows_per_second", 0.0) for one in running)
    working = [one for one in running if one.state == "following"]
    trying = [one for one in running if one.state == "retrying"]
    if working:
        level: Level = "good"
        standing = f"{len(running)} running" if role == "load" and len(running) > 1 else "running"
    elif trying:
        level, standing = "warning", "trying again"
    else:
        level, standing = "warning", running[0].state
    if role == "debezium":  # its watcher knows whether it works, and not how much it moves
        return Stage(role, title, level, standing, NONE, "", "in Kafka Connect")
    seconds = max((one.figures.get("batch_seconds", 0.0) for one in running), default=0.0)
    note = f"{seconds_text(seconds)} a batch" if seconds else "idle"
    if len(running) > len(working) + len(trying) and working and role != "load":
        note += ", another waits"
    return Stage(role, title if len(running) == 1 or role != "load" else "Loaders", level, standing,
                 whole(round(rate)), "rows/s", note)  # fmt: skip


def _relay(alive: Sequence[Process], known: Sequence[Process], slot: SlotState | None) -> Stage:
    """Whoever carries facts into Kafka: the relay, unless Debezium does, or did last."""
    named = {one.role for one in alive}
    if "relay" not in named and ("debezium" in named or _spoke_last(known) == "debezium"):
        return _movers("debezium", alive, known)
    if slot is not None and slot.is_active and named.isdisjoint({"relay", "pipeline"}):
        return Stage("relay", "Kafka Connect", "good", "reads the slot", NONE, "", "or another reader of the slot")
    return _movers("relay", alive, known)


def _spoke_last(known: Sequence[Process]) -> str:
    into_kafka = [one for one in known if one.role in {"relay", "debezium"}]
    return min(into_kafka, key=lambda one: one.silent_seconds).role if into_kafka else ""


def _kafka(waiting: tuple[int, float] | None, alive: Sequence[Process]) -> Stage:
    if waiting is None:
        return Stage("kafka", "Kafka", "unknown", "not heard of", NONE, "", "no loader has told yet")
    rest, seconds = waiting
    has_loader = any(one.role == "load" for one in alive)
    if not has_loader:
        return Stage("kafka", "Kafka", "warning", "nobody reads", NONE, "", "keeps what the relay sends")
    level: Level = "good" if seconds <= 4 * rules.CANARY_SILENT_SECONDS else "unknown"
    note = "messages to load" if seconds <= rules.CANARY_SILENT_SECONDS else f"messages, {_duration(seconds)} ago"
    return Stage("kafka", "Kafka", level, "read", whole(rest), "", note)


def _clickhouse(canaries: Canaries | None, behind: float | None, limits: Limits) -> Stage:
    if canaries is None:
        return Stage("clickhouse", "ClickHouse", "bad", "does not answer", NONE, "", "facts wait; nothing is lost")
    if behind is None:
        return Stage("clickhouse", "ClickHouse", "unknown", "no canary yet", NONE, "", "measured once a second")
    if canaries.p50_seconds is None or canaries.p99_seconds is None:
        note = "no canary in 5 min"
    else:
        note = f"p50 {_precise(canaries.p50_seconds)}, p99 {_precise(canaries.p99_seconds)}"
    level = rules.lag_level(behind, limits)
    standing = {"good": "up to date", "warning": "behind", "bad": "far behind"}.get(level, "")
    figure, unit = _behind(behind).split(" ", 1)
    return Stage("clickhouse", "ClickHouse", level, standing, figure, f"{unit} behind", note)


def _verdict(stages: Sequence[Stage], alive: Sequence[Process], behind: float | None) -> tuple[Level, str]:
    """Return the one sentence that matters most: the first of these that is so."""
    by_name = {stage.name: stage for stage in stages}
    target = by_name["clickhouse"]
    found: list[tuple[Level, str]] = []
    found += [
        ("bad", f"No {_within(role)} runs; facts wait in {where}")
        for role, where in WAITING_PLACES.items()
        if role in by_name and by_name[role].level == "bad"
    ]
    if target.level == "bad" and behind is None:
        where = "Kafka" if "kafka" in by_name else "PostgreSQL's log"
        found.append(("bad", f"ClickHouse does not answer; facts wait in {where}"))
    found += [
        ("warning", f"{ROLES[one.role]} tries again: {one.sentence[:120]}") for one in alive if one.state == "retrying"
    ]
    if by_name["postgresql"].level == "bad":
        found.append(("bad", "The slot is in danger"))
    level = rules.worst(*(stage.level for stage in stages))
    if behind is None:
        found.append((level, "Waiting for the first canary"))
    elif target.level in {"warning", "bad"}:
        found.append((target.level, f"The warehouse is {_behind(behind)} behind; nothing is lost"))
    elif level in {"warning", "bad"}:
        found.append((level, "Facts arrive, and something needs a look"))
    else:
        found.append(("good", f"Facts are visible {_behind(behind)} after their commit"))
    return found[0]


def _within(role: str) -> str:
    """Return a role's title as it is written within a sentence: Debezium is a name."""
    return ROLES[role] if role == "debezium" else ROLES[role].lower()


def _lines(ours: Sequence[Process]) -> list[ProcessLine]:
    listed = []
    for one in ours:
        is_alive = _is_alive(one)
        if not is_alive and one.silent_seconds > REMEMBERED_SECONDS:
            continue
        is_replaced = any(
            other.role == one.role and other.started_at > one.started_at and _is_alive(other) for other in ours
        )
        level, standing = _standing(one, is_alive=is_alive, is_replaced=is_replaced)
        figures = one.figures
        troubles = [
            f"{whole(int(figures[name]))} {word}"
            for name, word in (("interruptions", "interruptions"), ("dead_letters", "dead letters"))
            if figures.get(name)
        ]
        if one.role == "load":
            troubles.insert(0, f"{whole(int(figures.get('partitions', 0)))} partitions")
        batch = figures.get("batch_rows", 0.0)
        listed.append(
            ProcessLine(
                id=str(one.id),
                role=ROLES[one.role],
                where=f"{one.host}, process {one.pid}",
                level=level,
                standing=standing,
                spoke="now" if is_alive else f"{_duration(one.silent_seconds)} ago",
                rate=whole(round(figures.get("rows_per_second", 0.0))) if is_alive and one.role != "debezium" else NONE,
                batch=whole(round(batch)) if is_alive and batch else NONE,
                settled=_precise(figures.get("batch_seconds", 0.0)) if is_alive and batch else NONE,
                troubles=", ".join(troubles),
                sentence=one.sentence if one.state in {"retrying", "waiting", "ended"} else "",
            )
        )
    return listed


def _standing(process: Process, *, is_alive: bool, is_replaced: bool) -> tuple[Level, str]:
    if process.ended_at is not None:
        return ("bad", "stopped") if process.sentence else ("unknown", "stopped")
    if not is_alive:
        return ("unknown", "gone, replaced") if is_replaced else ("bad", "gone")
    return {
        "following": ("good", "running"),
        "waiting": ("good", "stands by"),
        "copying": ("warning", "copies the tables"),
        "retrying": ("warning", "tries again"),
    }.get(process.state, ("warning", process.state))  # type: ignore[return-value]


def slot_view(slot: SlotState | None, limits: Limits) -> SlotView | None:
    """Say how the slot stands, against what may be kept for it."""
    if slot is None:
        return None
    level, sentence = _slot_level(slot, limits)
    since = "" if not slot.inactive_since else f" since {slot.inactive_since[:16].replace('T', ' ')}"
    return SlotView(
        level=level,
        sentence=sentence,
        name=slot.name,
        reader="somebody reads it" if slot.is_active else f"nobody reads it{since}",
        unconfirmed=bytes_text(slot.unconfirmed_bytes),
        retained=bytes_text(slot.retained_bytes),
        keep="no limit" if slot.keep_bytes is None else bytes_text(slot.keep_bytes),
        share=None if not slot.keep_bytes else min(100, round(100 * slot.retained_bytes / slot.keep_bytes)),
        warn=bytes_text(limits.warn_bytes),
        alarm=bytes_text(limits.alarm_bytes),
    )


def _slot_level(slot: SlotState, limits: Limits) -> tuple[Level, str]:
    return rules.slot_level(
        status=slot.status, unconfirmed_bytes=slot.unconfirmed_bytes, safe_bytes=slot.safe_bytes,
        is_active=slot.is_active, limits=limits,
    )  # fmt: skip


def letters(found: Iterable[OpenLetter], moment: datetime) -> list[LetterLine]:
    """Make the lines of the dead letters that wait."""
    return [
        LetterLine(
            id=str(one.id),
            topic=one.topic,
            place=place(one.partition, one.position),
            since=ago(one.created_at, moment),
            reason=(one.reason.splitlines() or [""])[0],
        )
        for one in found
    ]


def place(partition: int | None, position: int) -> str:
    """Return where a message was: its offset in a partition, or its position in the log."""
    if partition is None:
        return f"{position >> 32:X}/{position & 0xFFFFFFFF:08X}"
    return f"partition {partition}, offset {whole(position)}"


def proofs(found: Iterable[KeptProof], moment: datetime) -> list[ProofLine]:
    """Say what the last comparisons of both stores have found."""
    return [
        ProofLine(
            level="good" if proof.holds else "bad",
            scope="Everything" if proof.scope == "full" else "What is new",
            sentence=f"{whole(proof.compared)} compared, "
            + ("all agree" if proof.holds else f"{len(proof.violations)} or more differ"),
            when=ago(proof.checked_at, moment) + ("" if proof.seconds is None else f", {seconds_text(proof.seconds)}"),
            violations=proof.violations[:5],
        )
        for proof in found
        if proof.promise == "P6"
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3_600 else f"{seconds / 3_600:.0f} h"  # noqa: PLR2004 - an hour


def _behind(seconds: float) -> str:
    if seconds < 10:  # noqa: PLR2004 - tenths are read
        return _precise(seconds)
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - ten minutes


def _precise(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"

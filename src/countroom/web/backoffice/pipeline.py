"""The pipeline's page: the way that facts take, live; its slot, its dead letters, and what comparing found last."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import msgspec
import structlog
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body, FromPath, QueryParameter
from litestar.response import Redirect
from urllib3.exceptions import HTTPError

from countroom.clock import now
from countroom.players import audit
from countroom.players.rights import may, require
from countroom.players.staff import StaffSession
from countroom.proof import latest
from countroom.refusal import Refusal
from countroom.warehouse import rules, watch
from countroom.warehouse.dead_letters import OPEN_MAX, Letter, NoSuchLetter
from countroom.warehouse.load import WarehouseAwayError
from countroom.warehouse.retry import store_again
from countroom.web.backoffice import pipeline_views as views
from countroom.web.backoffice.render import PAGE_HEADERS, page
from countroom.web.problems import STATUS
from countroom.web.sessions import signed_in_staff

WAREHOUSE_SECONDS: Final = 3.0
"""A page waits no longer for ClickHouse than a person would."""
FORM_BYTES_MAX: Final = 8_192
REASON_LENGTH_MAX: Final = 500
BODY_SHOWN: Final = 20_000
"""Of a message; some are megabytes."""
RETRIED_MAX: Final = 100
"""Dead letters that one click tries again; the command takes all."""

Values = Mapping[str, Any]
Answer = TypeVar("Answer")

_log = structlog.get_logger()


class NoReason(Refusal):
    """Say in up to 500 characters why this message will never be stored."""

    kind = "invalid"
    code = "no_reason"
    field = "reason"


class StillRefused(Refusal):
    """It still cannot be stored."""

    kind = "conflict"
    code = "still_refused"


class WarehouseAway(Refusal):
    """ClickHouse does not answer; try again when it does."""

    kind = "unavailable"
    code = "warehouse_away"


@dataclass
class DiscardForm:
    """What the form under a dead letter sends."""

    reason: str = ""


async def way(state: State) -> Values:
    """The way, station by station, and the processes on it."""
    processes, slot, sent, canaries, waiting = await asyncio.gather(
        watch.processes(state.database),
        watch.slot_state(state.database),
        watch.silent_canary(state.database),
        _ask(state, watch.canaries),
        _ask(state, watch.waiting_in_kafka),
    )
    behind = None
    if canaries is not None and sent is not None:
        behind = watch.behind(canaries, *sent)
    return {
        "way": views.way(
            views.Seen(processes, slot, canaries, behind, waiting),
            watch.limits(state.settings),
            through_kafka=state.settings.kafka_servers is not None,
        )
    }


async def slot(state: State) -> Values:
    """The slot against its limits."""
    return {"slot": views.slot_view(await watch.slot_state(state.database), watch.limits(state.settings))}


async def letters(state: State) -> Values:
    """The dead letters that wait for somebody."""
    async with state.database.connection() as connection:
        by_topic = await watch.open_letters_by_topic(connection)
    found = await watch.open_letters(state.database, views.LETTERS_SHOWN)
    return {"letters": views.letters(found, now()), "open_letters": sum(by_topic.values()), "open_max": OPEN_MAX}


async def compared(state: State) -> Values:
    """What comparing both stores found last."""
    return {"compared": views.proofs(await latest(state.database), now())}


PARTS: Final[Mapping[str, Callable[[State], Awaitable[Values]]]] = {
    "way": way,
    "slot": slot,
    "letters": letters,
    "compared": compared,
}


@get("/")
async def show(
    state: State,
    member: NamedDependency[StaffSession],
    *,
    stored: Annotated[int | None, QueryParameter(ge=0, le=RETRIED_MAX)] = None,
    refused: Annotated[int, QueryParameter(ge=0, le=RETRIED_MAX)] = 0,
) -> Response[str]:
    """Show the whole page, with its figures already in it."""
    values: dict[str, Any] = {}
    for part in await asyncio.gather(*(part(state) for part in PARTS.values())):
        values |= part
    done = ""
    if stored is not None:
        done = f"{stored} stored" + (f", {refused} still cannot be; they stay here." if refused else ".")
    return page(
        "pipeline.html",
        staff=member,
        room="pipeline",
        done=done,
        zone=state.settings.reporting_time_zone,
        warn_seconds=state.settings.lag_warn_seconds,
        may_settle=may(member, "settle_dead_letters"),
        **values,
    )


@get("/fragments/{name:str}")
async def fragment(state: State, name: FromPath[str], member: NamedDependency[StaffSession]) -> Response[str]:
    """Give one part of the page anew."""
    part = PARTS.get(name)
    if part is None:
        raise NotFoundException
    return page(f"fragments/{name}.html", staff=member, **await part(state))


@get("/chart.json")
async def chart(state: State, member: NamedDependency[StaffSession]) -> Response[Any]:
    """Give the lag of the last half hour, a point for ten seconds."""
    assert member
    sent = await watch.silent_canary(state.database)
    moment = (sent[0].timestamp() + sent[1]) if sent else datetime.now(UTC).timestamp()
    last = int(moment) // views.STEP_SECONDS * views.STEP_SECONDS
    first = last - (views.STEPS_SHOWN - 1) * views.STEP_SECONDS
    since = datetime.fromtimestamp(first, UTC) - timedelta(hours=1)
    steps = await _ask(state, lambda client: watch.canary_steps(client, since, views.STEP_SECONDS))
    if steps is None:
        note = "ClickHouse does not answer. The chart comes back with it; facts wait, and nothing is lost."
        return Response({"available": False, "note": note}, headers=PAGE_HEADERS)
    lags = rules.course(
        steps, first=first, last=last, step_seconds=views.STEP_SECONDS,
        sent_at=sent[0].timestamp() if sent else 0.0, moment=moment,
    )  # fmt: skip
    times = list(range(first, last + 1, views.STEP_SECONDS))
    return Response({"available": True, "note": None, "times": times, "lag": lags}, headers=PAGE_HEADERS)


@get("/letters/{letter_id:uuid}")
async def show_letter(state: State, member: NamedDependency[StaffSession], letter_id: FromPath[UUID]) -> Response[Any]:
    """Show a dead letter whole."""
    return await _letter(state, member, letter_id)


@post("/letters/{letter_id:uuid}/retry", status_code=200)
async def retry(state: State, member: NamedDependency[StaffSession], letter_id: FromPath[UUID]) -> Response[Any]:
    """Try to store it again."""
    try:
        require(member, "settle_dead_letters")
        letter = await watch.letter(state.database, letter_id)
        if letter.outcome is not None:
            raise NoSuchLetter("It is settled already.")
        ((_, reason),) = await _try_again(state, member, [letter])
        if reason is not None:
            raise StillRefused(f"It still cannot be stored: {reason}")
    except Refusal as refusal:
        return await _letter(state, member, letter_id, refusal)
    return Redirect(f"/backoffice/pipeline/letters/{letter_id}", status_code=303)


@post("/letters/{letter_id:uuid}/discard", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def discard(
    state: State,
    member: NamedDependency[StaffSession],
    letter_id: FromPath[UUID],
    data: Annotated[DiscardForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Write down why it will never be stored."""
    reason = data.reason.strip()
    try:
        require(member, "settle_dead_letters")
        if not 0 < len(reason) <= REASON_LENGTH_MAX or "\0" in reason:
            raise NoReason
        await _settle(state, member, letter_id, "discarded", reason)
    except Refusal as refusal:
        return await _letter(state, member, letter_id, refusal, typed=data.reason.replace("\0", ""))
    return Redirect(f"/backoffice/pipeline/letters/{letter_id}", status_code=303)


@post("/letters/retry", status_code=200)
async def retry_all(state: State, member: NamedDependency[StaffSession]) -> Response[Any]:
    """Try to store the newest ones again."""
    require(member, "settle_dead_letters")
    waiting = await watch.open_letters(state.database, RETRIED_MAX)
    letters = [await watch.letter(state.database, one.id) for one in waiting]
    tried = await _try_again(state, member, letters)
    refused = sum(reason is not None for _, reason in tried)
    return Redirect(f"/backoffice/pipeline?stored={len(tried) - refused}&refused={refused}", status_code=303)


async def _letter(
    state: State, member: StaffSession, letter_id: UUID, refusal: Refusal | None = None, *, typed: str = ""
) -> Response[Any]:
    try:
        letter = await watch.letter(state.database, letter_id)
    except NoSuchLetter as missing:
        return page(
            "letter.html", status=STATUS[missing.kind], staff=member, room="pipeline", letter=None,
            problem=missing.sentence,
        )  # fmt: skip
    return page(
        "letter.html",
        status=STATUS[refusal.kind] if refusal else 200,
        staff=member,
        room="pipeline",
        letter=letter,
        since=f"{letter.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        place=views.place(letter.partition, letter.position),
        body=_readable(letter.body),
        is_cut=len(letter.body) > BODY_SHOWN,
        size=f"{len(letter.body):,}",
        noted=await audit.of(state.database, ("dead letter", str(letter_id))),
        may_settle=may(member, "settle_dead_letters"),
        problem=refusal.sentence if refusal else "",
        field=(refusal.field or "") if refusal else "",
        typed=typed,
    )


async def _try_again(state: State, member: StaffSession, letters: list[Letter]) -> list[tuple[Letter, str | None]]:
    """Store what can be stored now, and write that down."""
    url = state.settings.clickhouse_url
    try:
        tried = await asyncio.to_thread(lambda: list(store_again(url, letters)))
    except (WarehouseAwayError, ClickHouseError, HTTPError, OSError) as error:
        raise WarehouseAway from error
    for letter, reason in tried:
        if reason is None:
            await _settle(state, member, letter.id, "stored", None)
    return tried


async def _settle(state: State, member: StaffSession, letter_id: UUID, outcome: Any, note: str | None) -> None:
    async with state.database.transaction() as tx:
        await watch.settle_letter(tx, letter_id, outcome, note)
        await audit.note(
            tx, staff_id=member.staff_id, action=f"dead letter {outcome}", about=("dead letter", str(letter_id)),
            details={"reason": note} if note else {},
        )  # fmt: skip


def _readable(body: bytes) -> str:
    """Return a message as somebody can read it: JSON with its lines apart, anything else as it is."""
    shown = body[:BODY_SHOWN]
    try:
        return msgspec.json.format(shown, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return shown.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


async def _ask(state: State, question: Callable[[AsyncClient], Awaitable[Answer]]) -> Answer | None:
    """Ask ClickHouse, or give None when it does not answer in time, or has no such table yet."""
    try:
        async with asyncio.timeout(WAREHOUSE_SECONDS):
            return await question(await state.warehouse())
    except (ClickHouseError, OSError, Refusal) as error:  # TimeoutError is an OSError
        _log.info("the warehouse does not answer", error=type(error).__name__)
        return None


router: Final = Router(
    "/pipeline",
    route_handlers=[show, fragment, chart, retry_all, show_letter, retry, discard],
    dependencies={"member": Provide(signed_in_staff)},
)

"""The pages of reconciliation: reports that were compared, one of them with its differences, and comparing another."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from litestar import Response, Router, get, post
from litestar.datastructures import State, UploadFile
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, QueryParameter
from litestar.response import Redirect, Stream

from countroom.clock import now
from countroom.games import service as games
from countroom.games.reconciliation import service
from countroom.games.reconciliation.export import csv_of
from countroom.games.reconciliation.service import KINDS, Kind, NoSuchReconciliation, Reconciliation
from countroom.players.rights import may, require
from countroom.players.staff import StaffSession
from countroom.refusal import Refusal
from countroom.web.backoffice import reconciliation_views as views
from countroom.web.backoffice.ids import read_id
from countroom.web.backoffice.render import PAGE_HEADERS, page
from countroom.web.problems import STATUS
from countroom.web.sessions import signed_in_staff

LISTED: Final = 30
SHOWN: Final = 50
UPLOAD_BYTES_MAX: Final = 64 * 1024 * 1024
"""Some 500,000 lines. Whoever has more uses the command, which is nobody's web process."""
CHUNK_BYTES: Final = 64 * 1024
FORM_BYTES_MAX: Final = 8_192
ROOM: Final = "/backoffice/reconciliations"


class InvalidWish(Refusal):
    """A provider, a day and a file are needed."""

    kind = "invalid"
    code = "invalid_request"


@dataclass
class UploadForm:
    """What the form sends."""

    file: UploadFile | None = None
    provider: str = ""
    day: str = ""
    time_zone: str = "UTC"


@dataclass
class NoteForm:
    """What was done about a difference."""

    note: str = ""
    back: str = ""


@get("/")
async def show_all(
    state: State, member: NamedDependency[StaffSession], *, before: Annotated[str, QueryParameter()] = ""
) -> Response[Any]:
    """Show what was compared, the newest first."""
    return await _list(state, member, before=read_id(before))


@post("/", status_code=200, request_max_body_size=UPLOAD_BYTES_MAX)
async def compare(
    state: State,
    member: NamedDependency[StaffSession],
    data: Annotated[UploadForm, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> Response[Any]:
    """Compare a report, and show what came of it."""
    try:
        require(member, "compare_reports")
        day, time_zone = _wished(data)
        assert data.file is not None
        found = await service.compare(
            state.database, provider_code=data.provider, day=day, time_zone=time_zone, file_name=data.file.filename,
            chunks=_chunks(data.file), staff_id=member.staff_id,
        )  # fmt: skip
    except Refusal as refusal:
        return await _list(state, member, refusal=refusal, typed=data)
    finally:
        if data.file is not None:
            await data.file.close()
    return Redirect(f"{ROOM}/{found.id}", status_code=303)


@get("/{reconciliation_id:str}")
async def show(
    state: State,
    member: NamedDependency[StaffSession],
    reconciliation_id: FromPath[str],
    *,
    kind: Annotated[str, QueryParameter()] = "",
    after: Annotated[str, QueryParameter()] = "",
) -> Response[Any]:
    """Show a comparison with its differences."""
    return await _show(state, member, reconciliation_id, kind=kind, after=after)


@post("/{reconciliation_id:str}/differences/{number:int}", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def note(
    state: State,
    member: NamedDependency[StaffSession],
    reconciliation_id: FromPath[str],
    number: FromPath[int],
    data: Annotated[NoteForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Keep what was done about a difference."""
    kind, _, after = data.back.partition(".")
    try:
        found = await _found(state, reconciliation_id)
        if not 0 < number < 2**31:
            raise service.NoSuchDifference
        await service.note(state.database, member, found.id, number, data.note)
    except Refusal as refusal:
        return await _show(state, member, reconciliation_id, kind=kind, after=after, refusal=refusal, at=number)
    kind_ = kind if kind in KINDS else ""
    after_ = after if after.isdecimal() else ""
    return Redirect(f"{ROOM}/{found.id}?kind={kind_}&after={after_}#difference-{number}", status_code=303)


@get("/{reconciliation_id:str}/differences.csv")
async def export(
    state: State, member: NamedDependency[StaffSession], reconciliation_id: FromPath[str]
) -> Response[Any] | Stream:
    """Give every difference as a file."""
    assert member
    found = await _found(state, reconciliation_id)
    name = f"{found.provider_code}-{found.day}-differences.csv"
    return Stream(
        csv_of(state.database, found),
        media_type="text/csv; charset=utf-8",
        headers={**PAGE_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _list(
    state: State, member: StaffSession, *, before: UUID | None = None, refusal: Refusal | None = None,
    typed: UploadForm | None = None,
) -> Response[Any]:  # fmt: skip
    zone = ZoneInfo(state.settings.reporting_time_zone)
    found = await service.listed(state.database, limit=LISTED + 1, before=before)
    return page(
        "reconciliations.html",
        status=STATUS[refusal.kind] if refusal else 200,
        staff=member,
        room="reconciliations",
        zone=state.settings.reporting_time_zone,
        lines=[views.line(one, zone) for one in found[:LISTED]],
        next=str(found[LISTED - 1].id) if len(found) > LISTED else "",
        is_first=before is None,
        providers=[(one.code, one.title) for one in await games.providers_of(state.database)],
        typed=typed or UploadForm(day=str((now() - timedelta(days=1)).date())),
        may_compare=may(member, "compare_reports"),
        megabytes=UPLOAD_BYTES_MAX // 1024**2,
        problem=refusal.sentence if refusal else "",
        field=(refusal.field or "") if refusal else "",
    )


async def _show(
    state: State, member: StaffSession, reconciliation_id: str, *, kind: str, after: str,
    refusal: Refusal | None = None, at: int = 0,
) -> Response[Any]:  # fmt: skip
    try:
        found = await _found(state, reconciliation_id)
    except NoSuchReconciliation as missing:
        return await _list(state, member, refusal=missing)
    zone = ZoneInfo(state.settings.reporting_time_zone)
    chosen: Kind | None = next((one for one in KINDS if one == kind), None)
    behind = int(after) if after.isdecimal() and len(after) < len(str(2**31)) else 0
    listed = await service.differences(state.database, found, kind=chosen, after=behind, limit=SHOWN + 1)
    return page(
        "reconciliation.html",
        status=STATUS[refusal.kind] if refusal else 200,
        staff=member,
        room="reconciliations",
        zone=state.settings.reporting_time_zone,
        found=found,
        line=views.line(found, zone),
        sums=views.sums(found),
        chips=views.chips(found, chosen),
        chosen=chosen or "",
        differences=views.differences(listed[:SHOWN], zone),
        next=str(listed[SHOWN - 1].difference.number) if len(listed) > SHOWN else "",
        after=str(behind) if behind else "",
        may_note=may(member, "note_differences"),
        problem=refusal.sentence if refusal else "",
        at=at,
    )


async def _found(state: State, text: str) -> Reconciliation:
    reconciliation_id = read_id(text)
    if reconciliation_id is None:
        raise NoSuchReconciliation
    return await service.read(state.database, reconciliation_id)


def _wished(data: UploadForm) -> tuple[date, str]:
    """Read the day and the time zone.

    Raises:
        InvalidWish: one of them is none, or there is no file.
    """
    if data.file is None or not data.file.filename:
        raise InvalidWish("Choose a file.", field="file")
    try:
        day = date.fromisoformat(data.day)
    except ValueError as error:
        raise InvalidWish("This is not a date.", field="day") from error
    if not timedelta(days=-36_500) < day - now().date() < timedelta(days=2):
        raise InvalidWish("There is no report of such a day.", field="day")
    try:
        ZoneInfo(data.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidWish("This is no time zone; use a name such as Europe/Malta.", field="time_zone") from error
    return day, data.time_zone


def _chunks(file: UploadFile) -> Iterator[bytes]:
    """Read what was uploaded; what is large has been put into a file by the server."""
    while chunk := file.file.read(CHUNK_BYTES):
        yield chunk


router: Final = Router(
    "/reconciliations",
    route_handlers=[show_all, compare, show, note, export],
    dependencies={"member": Provide(signed_in_staff)},
)

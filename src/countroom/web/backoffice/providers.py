"""The console of providers: how they call and are answered, their last calls, their keys, and a test call."""

from dataclasses import dataclass
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, QueryParameter
from litestar.response import Redirect

from countroom.clock import now
from countroom.games import console, key_rotation
from countroom.games.key_rotation import UnknownProvider
from countroom.games.recording import RETAINED, RETAINED_FOR
from countroom.players.rights import may
from countroom.players.staff import StaffSession
from countroom.refusal import Refusal
from countroom.web import console_calls
from countroom.web.backoffice import provider_views as views
from countroom.web.backoffice.render import page
from countroom.web.problems import STATUS
from countroom.web.sessions import signed_in_staff

FORM_BYTES_MAX: Final = 16_384


@dataclass
class KeyForm:
    """A key to add; empty: one is made here and shown once."""

    key: str = ""


@dataclass
class RetireForm:
    """Which key to retire."""

    print: str = ""


@get("/")
async def show_all(state: State, member: NamedDependency[StaffSession]) -> Response[Any]:
    """Show every provider."""
    found = await console.list_providers(state.database, secret_key=state.settings.secret_key)
    return page(
        "providers.html", staff=member, room="providers", lines=views.lines(found, now()),
        minutes=console.OVERVIEW_MINUTES,
    )  # fmt: skip


@get("/{code:str}")
async def show(
    state: State,
    member: NamedDependency[StaffSession],
    code: FromPath[str],
    calls: Annotated[str, QueryParameter()] = "",
) -> Response[Any]:
    """Show one provider."""
    return await _show(state, member, code, only_refused=calls == "refused")


@get("/{code:str}/figures")
async def figures(state: State, member: NamedDependency[StaffSession], code: FromPath[str]) -> Response[Any]:
    """Give the figures anew."""
    assert member
    counted = await console.figures(state.database, code)
    zone = ZoneInfo(state.settings.reporting_time_zone)
    return page("fragments/provider_figures.html", **_counted(counted, zone))


@post("/{code:str}/test-call", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def send_test_call(state: State, member: NamedDependency[StaffSession], code: FromPath[str]) -> Response[Any]:
    """Send a test call, and show it with its answer."""
    try:
        provider = state.catalog.providers.get(code)
        if provider is None:
            raise UnknownProvider
        callback, is_signed = await console.make_test_call(state.database, member, provider)
        answered = await console_calls.send(state.callbacks, code, callback)
    except Refusal as refusal:
        return await _show(state, member, code, refusal=refusal, at="test")
    return await _show(state, member, code, sent=views.sent(code, callback, answered) | {"is_signed": is_signed})


@post("/{code:str}/keys", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def add_key(
    state: State,
    member: NamedDependency[StaffSession],
    code: FromPath[str],
    data: Annotated[KeyForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Add a key; one that was made here is shown once, and never again."""
    made = "" if data.key.strip() else key_rotation.new_secret()
    try:
        await key_rotation.add_key(
            state.database, member, code, made or data.key, secret_key=state.settings.secret_key
        )  # fmt: skip
    except Refusal as refusal:
        return await _show(state, member, code, refusal=refusal, at="keys")
    await state.catalog.refresh()
    if made:
        return await _show(state, member, code, made=made)
    return Redirect(f"/backoffice/providers/{code}#keys", status_code=303)


@post("/{code:str}/keys/retire", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def retire_key(
    state: State,
    member: NamedDependency[StaffSession],
    code: FromPath[str],
    data: Annotated[RetireForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Retire a key."""
    try:
        await key_rotation.retire_key(
            state.database, member, code, data.print, secret_key=state.settings.secret_key
        )  # fmt: skip
    except Refusal as refusal:
        return await _show(state, member, code, refusal=refusal, at="keys")
    await state.catalog.refresh()
    return Redirect(f"/backoffice/providers/{code}#keys", status_code=303)


async def _show(
    state: State,
    member: StaffSession,
    code: str,
    *,
    only_refused: bool = False,
    refusal: Refusal | None = None,
    at: str = "",
    sent: dict[str, object] | None = None,
    made: str = "",
) -> Response[Any]:
    zone = ZoneInfo(state.settings.reporting_time_zone)
    try:
        shown = await console.read(state.database, code, secret_key=state.settings.secret_key)
    except UnknownProvider as missing:
        return page(
            "providers.html", status=STATUS[missing.kind], staff=member, room="providers", lines=None,
            minutes=console.OVERVIEW_MINUTES,
        )  # fmt: skip
    calls = await console.last_exchanges(state.database, code, only_refused=only_refused)
    return page(
        "provider.html",
        status=STATUS[refusal.kind] if refusal else 200,
        staff=member,
        room="providers",
        zone=state.settings.reporting_time_zone,
        line=shown.line,
        keys=views.keys(shown.keys, now(), zone),
        exchanges=views.exchanges(calls, code, zone),
        only_refused=only_refused,
        retained=RETAINED,
        hours=RETAINED_FOR.total_seconds() / 3600,
        noted=views.noted(shown.audit, zone),
        may_rotate=may(member, "rotate_provider_keys"),
        may_send=may(member, "send_test_calls"),
        problem=refusal.sentence if refusal else "",
        problem_at=at,
        sent=sent,
        made=made,
        **_counted(shown.line.figures, zone),
    )


def _counted(figures: console.Figures, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "tiles": views.tiles(figures),
        "chart": views.chart(figures, now(), zone),
        "answers": views.answers(figures),
        "outcomes": views.outcomes(figures),
    }


router: Final = Router(
    "/providers",
    route_handlers=[show_all, show, figures, send_test_call, add_key, retire_key],
    dependencies={"member": Provide(signed_in_staff)},
)

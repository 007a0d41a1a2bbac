"""The API of the staff: signing in, the day's figures, and the state of the promises."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from litestar import Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody, QueryParameter

from countroom import clock
from countroom.players import staff
from countroom.players.staff import StaffSession
from countroom.proof import KeptProof, Scope, latest, newest_of_each
from countroom.refusal import Refusal
from countroom.web.api.answers import PLAYER_SECURITY, problems
from countroom.web.api.players import Credentials
from countroom.web.sessions import AnyRequest, client_address, signed_in_staff
from countroom.web.warehouse import WarehouseUnavailable

DAYS_DEFAULT: Final = 30
DAYS_MAX: Final = 400

_DAYS: Final = """
    SELECT date, toString(currency) AS currency, active_users, gross_gaming_revenue, deposits_sum, withdrawals_sum,
           conversion_rate, first_depositors, registrations, computed_at
      FROM daily_kpi FINAL
     WHERE date BETWEEN {first:Date32} AND {last:Date32}
     ORDER BY date
    """

signed_in: Final = {"member": Provide(signed_in_staff)}


class InvalidDate(Refusal):
    """A day is written as year, month and day, such as 2026-01-31."""

    kind = "invalid"
    code = "invalid_date"


class InvalidRange(Refusal):
    """The days asked for must be in order, and at most 400."""

    kind = "invalid"
    code = "invalid_range"


class StaffSessionCreated(msgspec.Struct):
    """The token goes into `Authorization: Bearer <token>`; it is shown here only."""

    token: str
    staff_id: UUID
    email: str
    role: str
    expires_at: datetime


class KpiDay(msgspec.Struct):
    """One day in the reporting currency, as `docs/kpi.md` defines it."""

    date: date
    currency: str
    active_users: int
    gross_gaming_revenue: str
    deposits_sum: str
    withdrawals_sum: str
    conversion_rate: str | None
    """First depositors ÷ registrations; null without registrations."""
    first_depositors: int
    registrations: int
    computed_at: datetime


class KpiDays(msgspec.Struct):
    """Days in order; a day on which nothing has been counted is not there."""

    days: list[KpiDay]


class CheckShown(msgspec.Struct):
    """The last proof of one promise."""

    promise: str
    holds: bool
    compared: int
    violations: list[str]
    scope: Scope
    seconds: float | None
    waiting: int
    checked_at: datetime


class ChecksShown(msgspec.Struct):
    """The last proof of each promise."""

    checks: list[CheckShown]


@post(
    "/api/v1/staff/sign-in",
    status_code=200,
    tags=["staff"],
    summary="Sign in as staff",
    description="Gives a new bearer token each time. It is valid for twelve hours, or until `DELETE /api/v1/session`.",
    responses=problems(400, 401, 429, 503),
)
async def sign_in(request: AnyRequest, data: JSONBody[Credentials]) -> Response[StaffSessionCreated]:
    """Sign a member of the staff in."""
    state = request.app.state
    token, member = await staff.sign_in(
        state.database, state.redis, email=data.email, password=data.password, address=client_address(request)
    )
    return Response(
        StaffSessionCreated(token, member.staff_id, member.email, member.role, member.expires_at),
        headers={"Cache-Control": "no-store"},
    )


@get(
    "/api/v1/kpi/daily",
    dependencies=signed_in,
    tags=["staff"],
    summary="Daily figures",
    description="From ClickHouse, in the reporting currency and time zone. Without dates: the last 30 days.",
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 503),
)
async def daily_kpi(
    request: AnyRequest,
    member: NamedDependency[StaffSession],  # noqa: ARG001 - asking for it is what signs in
    first: Annotated[str | None, QueryParameter(name="from", description="First day, such as 2026-01-31.")] = None,
    last: Annotated[str | None, QueryParameter(name="to", description="Last day, itself included.")] = None,
) -> KpiDays:
    """Show the daily figures."""
    state = request.app.state
    today = clock.now().astimezone(ZoneInfo(state.settings.reporting_time_zone)).date()
    last_day = _date(last, "to") or today
    first_day = _date(first, "from") or last_day - timedelta(days=min(DAYS_DEFAULT - 1, last_day.toordinal() - 1))
    if not 0 <= (last_day - first_day).days < DAYS_MAX:
        raise InvalidRange(field="from")
    warehouse = await state.warehouse()
    try:
        result = await warehouse.query(_DAYS, parameters={"first": first_day, "last": last_day})
    except (ClickHouseError, OSError) as error:
        raise WarehouseUnavailable from error
    return KpiDays([_day(row) for row in result.named_results()])


@get(
    "/api/v1/checks",
    dependencies=signed_in,
    tags=["staff"],
    summary="The state of the promises",
    description="The last proof of each promise: whether it holds, how many things were compared, the first ids at "
    "fault, whether it was over everything (`full`) or over what was new (`incremental`), how long it took, and how "
    "many new entries of the journal it left to the next proof.",
    security=PLAYER_SECURITY,
    responses=problems(401, 503),
)
async def checks(
    request: AnyRequest,
    member: NamedDependency[StaffSession],  # noqa: ARG001 - asking for it is what signs in
) -> ChecksShown:
    """Show the last proofs."""
    return ChecksShown([_check(proof) for proof in newest_of_each(await latest(request.app.state.database))])


def _date(text: str | None, field: str) -> date | None:
    """Read a day. Not left to the framework, which would name our variable instead of the caller's field."""
    try:
        return None if text is None else msgspec.convert(text, date)
    except msgspec.ValidationError as error:
        raise InvalidDate(field=field) from error


def _day(row: dict[str, Any]) -> KpiDay:
    rate = row["conversion_rate"]
    return KpiDay(
        date=row["date"],
        currency=row["currency"],
        active_users=row["active_users"],
        gross_gaming_revenue=str(row["gross_gaming_revenue"]),
        deposits_sum=str(row["deposits_sum"]),
        withdrawals_sum=str(row["withdrawals_sum"]),
        conversion_rate=None if rate is None else str(rate),
        first_depositors=row["first_depositors"],
        registrations=row["registrations"],
        computed_at=row["computed_at"],
    )


def _check(proof: KeptProof) -> CheckShown:
    return CheckShown(
        proof.promise, proof.holds, proof.compared, list(proof.violations), proof.scope, proof.seconds, proof.waiting,
        proof.checked_at,
    )  # fmt: skip


route_handlers: Final = [sign_in, daily_kpi, checks]

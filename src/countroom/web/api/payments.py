"""The API of payments: paying in, and the sandbox provider's webhooks."""

from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, JSONBody

from countroom.money import format_amount
from countroom.payments import service
from countroom.payments.providers.sandbox import HEADER, SandboxProvider
from countroom.players.service import SignedIn
from countroom.settings import Settings
from countroom.web.api.answers import PLAYER_SECURITY, Amount, problems
from countroom.web.api.players import signed_in
from countroom.web.sessions import AnyRequest

WEBHOOK_PATH: Final = "/webhooks/sandbox"
WEBHOOK_BYTES_MAX: Final = 64 * 1024
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - nothing is bound here
"""Who listens on all addresses cannot be called on "all"."""


class NewDeposit(msgspec.Struct):
    """How much, and how it is paid."""

    amount: Amount
    currency: str
    method: Literal["sandbox"]


class DepositStarted(msgspec.Struct):
    """A payment that waits for its payer at `payment_url`."""

    id: UUID
    status: str
    amount: str
    currency: str
    payment_url: str
    payment_intent_id: str


class WebhookTaken(msgspec.Struct):
    """What came of an event: credited, failed, repeated, ignored or review."""

    outcome: str


@post(
    "/api/v1/deposits",
    dependencies=signed_in,
    tags=["money"],
    summary="Pay in",
    description="Starts a payment and says where it is paid. The wallet is credited when the payment provider reports "
    "success. With an `Idempotency-Key` the request can be repeated: it gives the same payment again. "
    "Amounts are strings: a JSON number is refused, since it may have been rounded on its way.",
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 409, 503),
)
async def deposit(
    request: AnyRequest,
    player: NamedDependency[SignedIn],
    data: JSONBody[NewDeposit],
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(name="Idempotency-Key", min_length=1, max_length=200, description="The caller's own key."),
    ] = None,
) -> DepositStarted:
    """Start a deposit."""
    settings: Settings = request.app.state.settings
    payment = await service.start_deposit(
        request.app.state.database,
        SandboxProvider(settings.sandbox_psp_url, settings.sandbox_psp_secret),
        user_id=player.player_id,
        amount=data.amount,
        currency=data.currency,
        webhook_url=webhook_url(settings),
        idempotency_key=idempotency_key,
    )
    assert payment.payment_url is not None
    assert payment.payment_intent_id is not None
    return DepositStarted(
        id=payment.id,
        status=payment.status,
        amount=format_amount(payment.amount, payment.currency),
        currency=payment.currency,
        payment_url=payment.payment_url,
        payment_intent_id=payment.payment_intent_id,
    )


@post(
    WEBHOOK_PATH,
    status_code=200,
    request_max_body_size=WEBHOOK_BYTES_MAX,
    tags=["payment providers"],
    summary="Webhook of the sandbox payment provider",
    description="Takes an event signed with `Sandbox-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "
    '"{t}.{raw body}">`, at most five minutes old. Every event is kept; one that contradicts what is known '
    "moves nothing and waits for a person, and is answered with 200 all the same, since sending it again would "
    "not change it.",
    responses=problems(401, 409, 503),
)
async def sandbox_webhook(request: AnyRequest) -> WebhookTaken:
    """Take in an event."""
    state = request.app.state
    body = await request.body()
    verdict = await service.receive_webhook(
        state.database,
        secret=state.settings.sandbox_psp_secret,
        signature=request.headers.get(HEADER),
        body=body,
    )
    if verdict.credited is not None:
        await state.balances.refresh(state.database, verdict.credited)
    return WebhookTaken(verdict.outcome)


def webhook_url(settings: Settings) -> str:
    """Return where the sandbox provider reaches us. From the settings: a request's Host is anybody's to choose."""
    host = _EVERYWHERE.get(settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http://{host}:{settings.port}{WEBHOOK_PATH}"


route_handlers: Final = [deposit, sandbox_webhook]

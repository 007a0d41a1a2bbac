"""The sandbox payment provider: its signature, its calls and its events.

``Sandbox-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "{t}.{raw body}">`` signs what goes
to it and what comes from it. Several ``v1`` may be given while a secret is rotated, as Stripe
does it (docs.stripe.com/webhooks).
"""

import hashlib
import hmac
import re
import ssl
from datetime import datetime
from functools import cache
from typing import Annotated, Final
from uuid import UUID

import httpx
import msgspec

from countroom.money import Money, format_amount
from countroom.postgres import transaction_is_open
from countroom.refusal import Refusal

HEADER: Final = "Sandbox-Signature"
TOLERANCE_SECONDS: Final = 300
"""How far the provider's clock and ours may be apart; an older webhook is a replay."""
TIMEOUT_SECONDS: Final = 5.0
CALLS_MAX: Final = 2
"""A call without an answer is made once more, with the same idempotency key, while the player waits."""
HEADER_LENGTH_MAX: Final = 1024
NAME: Final = "sandbox"

_MOMENT: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_CLIENT_ERRORS: Final = range(400, 500)
_MAY_PASS: Final = frozenset({408, 409, 425, 429})
"""Answers below 500 that say nothing final: the same call may succeed later."""


class InvalidSignature(Refusal):
    """The signature of this webhook does not hold."""

    kind = "unauthenticated"
    code = "invalid_signature"


class ProviderSecretMissing(Refusal):
    """This payment provider is not set up here."""

    kind = "unavailable"
    code = "payment_provider_not_set_up"


class PaymentProviderUnavailable(Refusal):
    """The payment provider has not answered. Repeat the request with the same Idempotency-Key."""

    kind = "unavailable"
    code = "payment_provider_unavailable"


class PaymentProviderRefused(Refusal):
    """The payment provider does not take this payment."""

    kind = "conflict"
    code = "payment_provider_refused"


Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[!-~]+$")]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook's body. What an event of another type carries is not known, hence the defaults."""

    event_id: Text
    type: Text
    intent_id: Text | None = None
    amount: str | None = None
    currency: str | None = None


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's answer to a wish for money."""

    intent_id: Text
    payment_url: Annotated[str, msgspec.Meta(max_length=2000, pattern=r"^https?://[!-~]+$")]


def sign(secret: str, body: bytes, *, at: int) -> str:
    """Return the header that signs a body at a moment, in unix seconds."""
    return f"t={at},v1={_digest(secret, str(at), body)}"


def verify(secret: str | None, header: str | None, body: bytes, *, now: datetime) -> None:
    """Refuse a body that the provider has not signed within five minutes of now.

    Raises:
        ProviderSecretMissing: there is no secret, so nothing can be believed.
        InvalidSignature: the header is missing, malformed, too old, too new, or signs something else.
    """
    if not secret:
        raise ProviderSecretMissing
    if not header or len(header) > HEADER_LENGTH_MAX or not header.isascii():
        raise InvalidSignature
    parts = [part.strip().partition("=") for part in header.split(",")]
    moments = [value for name, _, value in parts if name == "t"]
    signatures = [value for name, _, value in parts if name == "v1"]
    if len(moments) != 1 or not _MOMENT.fullmatch(moments[0]):
        raise InvalidSignature
    if abs(now.timestamp() - int(moments[0])) > TOLERANCE_SECONDS:
        raise InvalidSignature
    expected = _digest(secret, moments[0], body)
    matches = [hmac.compare_digest(expected, signature) for signature in signatures]
    if not any(matches):
        raise InvalidSignature


def read_event(body: bytes) -> Event | None:
    """Return the event in a signed body, or None when it has not the form of one."""
    try:
        return msgspec.json.decode(body, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class SandboxProvider:
    """Calls the provider over HTTP. Never while a transaction is open."""

    def __init__(self, url: str, secret: str | None, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        self._transport = transport

    def check_set_up(self) -> None:
        """Refuse before anything is noted when there is no secret to sign with.

        Raises:
            ProviderSecretMissing: there is none.
        """
        if not self._secret:
            raise ProviderSecretMissing

    async def create_intent(
        self, *, payment_id: UUID, money: Money, webhook_url: str, now: datetime, return_url: str | None = None
    ) -> Intent:
        """Ask the provider to collect money. The payment's id is the idempotency key.

        The payer is sent to ``return_url`` afterwards, if there is one.

        Raises:
            ProviderSecretMissing: there is no secret to sign with.
            PaymentProviderUnavailable: no answer, or none that can be understood: the outcome is unknown.
            PaymentProviderRefused: a clear no; nothing will come of this payment.
        """
        assert not transaction_is_open(), "a provider is called while a transaction is open"
        if not self._secret:
            raise ProviderSecretMissing
        wish = {
            "payment_id": str(payment_id),
            "amount": format_amount(money.amount, money.currency),
            "currency": money.currency,
            "webhook_url": webhook_url,
        }
        if return_url is not None:
            wish["return_url"] = return_url
        body = msgspec.json.encode(wish)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": str(payment_id),
            HEADER: sign(self._secret, body, at=int(now.timestamp())),
        }
        async with httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS, transport=self._transport, verify=_tls(), trust_env=False
        ) as client:
            answer = await _post(client, f"{self._url}/intents", body, headers)
        if answer.status_code in _CLIENT_ERRORS and answer.status_code not in _MAY_PASS:
            raise PaymentProviderRefused
        try:
            return msgspec.json.decode(answer.content if answer.is_success else b"", type=Intent)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PaymentProviderUnavailable from error


async def _post(client: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    for remaining in reversed(range(CALLS_MAX)):
        try:
            answer = await client.post(url, content=body, headers=headers)
        except httpx.TransportError as error:
            if not remaining:
                raise PaymentProviderUnavailable from error
            continue
        if not answer.is_server_error or not remaining:
            return answer
    raise AssertionError("unreachable: the last call returns or raises")


def _digest(secret: str, moment: str, body: bytes) -> str:
    return hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificate authorities takes 20 ms: once is enough."""
    return ssl.create_default_context()

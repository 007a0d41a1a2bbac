"""The sandbox PSP: a payment provider that settles when somebody says so.

Its interface is described in docs/sandbox.md. Calls that move money into an intent are signed;
approving and declining are not, because here anybody may play the customer's bank.
"""

import hashlib
import re
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from countroom.demo.http import Application, Request, Response, Wrong, decode_json, json, page
from countroom.demo.psp_store import Intent, Store, Webhook
from countroom.demo.signatures import SANDBOX_HEADER, sandbox_signature_holds

KEY_LENGTH_MAX: Final = 255
_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,2})?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_OUTCOMES: Final[dict[str, Literal["succeeded", "failed"]]] = {"approve": "succeeded", "decline": "failed"}


class NewIntent(msgspec.Struct):
    """What a merchant sends to ask for money."""

    payment_id: str
    amount: str
    currency: str
    webhook_url: str
    return_url: str | None = None


class Psp:
    """The service behind the routes."""

    def __init__(
        self,
        store: Store,
        secret: str,
        public_url: str,
        *,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the store, the secret shared with the merchant, and the address that customers see.

        ``wake`` is called when a webhook has been stored.
        """
        self._store = store
        self._secret = secret
        self._public_url = public_url.rstrip("/")
        self._wake = wake
        self._clock = clock

    def application(self) -> Application:
        """Return the ASGI application."""
        return Application(
            [
                ("POST", "/intents", self.create),
                ("GET", "/intents/{intent_id}", self.show),
                ("POST", "/intents/{intent_id}/{decision}", self.decide),
                ("GET", "/pay/{intent_id}", self.pay),
                ("GET", "/health/live", _live),
            ]
        )

    async def create(self, request: Request) -> Response:
        """Open an intent. The same Idempotency-Key and body give the same intent again."""
        signature = request.headers.get(SANDBOX_HEADER, "")
        if not sandbox_signature_holds(self._secret, signature, request.body, at=self._clock()):
            raise Wrong(401, "invalid_signature", "The Sandbox-Signature does not hold for this body and moment.")
        key = request.headers.get("idempotency-key", "")
        if not 1 <= len(key) <= KEY_LENGTH_MAX:
            raise Wrong(400, "idempotency_key_missing", "An Idempotency-Key of 1 to 255 characters is needed.")
        wanted = decode_json(request.body, NewIntent)
        _check(wanted)
        request_hash = hashlib.sha256(request.body).digest()
        intent = self._store.intent_of_key(key)
        if intent is None:
            intent = Intent(
                id=f"pi_{uuid.uuid4().hex}",
                idempotency_key=key,
                request_hash=request_hash,
                payment_id=wanted.payment_id,
                amount=wanted.amount,
                currency=wanted.currency,
                return_url=wanted.return_url,
                webhook_url=wanted.webhook_url,
                status="pending",
            )
            self._store.add(intent)
        elif intent.request_hash != request_hash:
            raise Wrong(409, "idempotency_key_reused", "This Idempotency-Key came before with another body.")
        return json({"intent_id": intent.id, "payment_url": f"{self._public_url}/pay/{intent.id}"}, status=201)

    async def show(self, request: Request, *, intent_id: str) -> Response:  # noqa: ARG002 - routes are alike
        """Tell what became of an intent."""
        return _shown(self._known(intent_id))

    async def decide(self, request: Request, *, intent_id: str, decision: str) -> Response:
        """Approve or decline, once. The same decision again changes nothing; the other one is refused."""
        status = _OUTCOMES.get(decision)
        if status is None:
            raise Wrong(404, "not_found", "An intent can be approved or declined.")
        intent = self._known(intent_id)
        if intent.status == "pending":
            intent = self._settle(intent, status)
        if request.wants_a_page():
            return Response(303, headers={"location": intent.return_url or f"/pay/{intent.id}"})
        if intent.status != status:
            raise Wrong(409, "already_decided", f"This intent has already {intent.status}.")
        return _shown(intent)

    async def pay(self, request: Request, *, intent_id: str) -> Response:  # noqa: ARG002 - routes are alike
        """Show the customer's page."""
        intent = self._known(intent_id)
        values = {
            "amount": f"{Decimal(intent.amount):,}",
            "currency": intent.currency,
            "payment_id": intent.payment_id,
            "intent_id": intent.id,
            "status": intent.status,
            "return_url": intent.return_url or "",
        }
        return page("pay.html", values)

    def _known(self, intent_id: str) -> Intent:
        intent = self._store.intent(intent_id)
        if intent is None:
            raise Wrong(404, "intent_unknown", "There is no such intent.")
        return intent

    def _settle(self, intent: Intent, status: Literal["succeeded", "failed"]) -> Intent:
        event_id = f"evt_{uuid.uuid4().hex}"
        body = msgspec.json.encode(
            {
                "event_id": event_id,
                "type": f"payment.{status}",
                "intent_id": intent.id,
                "amount": intent.amount,
                "currency": intent.currency,
            }
        )
        now = self._clock()
        event = Webhook(event_id, intent.id, intent.webhook_url, body, attempts=0, created_at=now, next_at=now)
        self._store.decide(intent, status, event)
        self._wake()
        return self._known(intent.id)


def _check(wanted: NewIntent) -> None:
    if not _AMOUNT.fullmatch(wanted.amount) or Decimal(wanted.amount) == 0:
        raise Wrong(400, "invalid_amount", "amount is a positive decimal string with at most two decimals.")
    if not _CURRENCY.fullmatch(wanted.currency):
        raise Wrong(400, "invalid_currency", "currency is a code of three capital letters.")
    for name, address in (("webhook_url", wanted.webhook_url), ("return_url", wanted.return_url)):
        if address is not None and not _is_http(address):
            raise Wrong(400, f"invalid_{name}", f"{name} begins with http:// or https:// and names a host.")


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    # Header injection: an address with a line break would end up in a Location header.
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and address.isprintable() and address.isascii()


def _shown(intent: Intent) -> Response:
    return json(
        {
            "intent_id": intent.id,
            "payment_id": intent.payment_id,
            "amount": intent.amount,
            "currency": intent.currency,
            "status": intent.status,
        }
    )


async def _live(request: Request) -> Response:  # noqa: ARG001 - routes are alike
    return json({"status": "live"})

"""Calls a casino's wallet in the softswiss-v2 dialect, as the provider's side of it.

Written from the protocol's published description: JSON bodies, amounts as decimal strings,
``X-REQUEST-SIGN`` = hex HMAC-SHA256 of the raw body, HTTP 400 for a "no" with its meaning in
``meta.api_code``, 5xx and silence retried with the same bytes.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx
import msgspec

from countroom.demo.signatures import REQUEST_SIGN_HEADER, request_sign

if TYPE_CHECKING:
    from countroom.demo.ledger import Ledger

Route = Literal["balance", "betwin", "rollback", "finish"]

ATTEMPTS: Final[dict[Route, int]] = {"balance": 2, "betwin": 4, "rollback": 5, "finish": 5}
"""How often a call is tried before the provider gives up for now."""
ATTEMPT_SECONDS: Final = 15.0
ENVELOPE_SECONDS: Final = 30.0
"""All attempts of a call together."""
BACKOFF_SECONDS: Final = 0.15


class Moved(msgspec.Struct):
    """What the wallet says of one transaction."""

    id_provider: str
    id: str
    """The casino's own id; empty for a rollback of something it has not seen."""


class Granted(msgspec.Struct):
    """An answer of HTTP 200."""

    balance: str
    round_id: str = ""
    transactions: list[Moved] = []


class _Meta(msgspec.Struct):
    api_code: str
    api_message: str = ""
    balance: str | None = None


class _Error(msgspec.Struct):
    code: str
    msg: str
    meta: _Meta


class Answer(msgspec.Struct, frozen=True):
    """What the wallet answered, in the end."""

    http_status: int
    granted: Granted | None
    api_code: str
    """Empty when granted."""
    message: str
    milliseconds: float
    """Of the attempt that was answered."""
    attempts: int


class NoAnswer(Exception):  # noqa: N818 - silence is an outcome that the caller plans for
    """The wallet did not answer, or only with 5xx, in all attempts. Whether it moved money is unknown."""

    def __init__(self, trouble: str) -> None:
        self.trouble = trouble
        super().__init__(trouble)


class StrangeAnswer(Exception):  # noqa: N818 - it is the answer that is wrong, not this call
    """The wallet answered something that the protocol does not know."""


class WalletClient:
    """Signs and sends callbacks to one casino."""

    def __init__(self, base_url: str, key: str, http: httpx.AsyncClient, ledger: "Ledger | None" = None) -> None:
        """Take the address below which the four routes are, the key shared with the casino, and our own books."""
        self.base_url = base_url.rstrip("/")
        self.key = key
        self.http = http
        self.ledger = ledger

    async def call(self, route: Route, body: Mapping[str, Any]) -> Answer:
        """Send one callback, repeating it byte for byte while there is no answer.

        Raises:
            NoAnswer: after the last attempt.
            StrangeAnswer: the answer is none of this protocol.
        """
        if self.ledger:
            self.ledger.sent(route, body)
        answer = await self._tell(route, msgspec.json.encode(body))
        if self.ledger:
            self.ledger.heard(route, body, answer)
        return answer

    async def _tell(self, route: Route, raw: bytes) -> Answer:
        deadline = time.monotonic() + ENVELOPE_SECONDS
        trouble = ""
        for attempt in range(1, ATTEMPTS[route] + 1):
            if attempt > 1:
                await asyncio.sleep(BACKOFF_SECONDS * 2.0 ** (attempt - 2))
            left = deadline - time.monotonic()
            if left <= 0:
                break
            started = time.perf_counter()
            try:
                response = await self._post(route, raw, min(ATTEMPT_SECONDS, left))
            except httpx.HTTPError as error:
                trouble = f"{route}: {type(error).__name__}"
                continue
            if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
                trouble = f"{route}: HTTP {response.status_code}"
                continue
            return _read(route, response, (time.perf_counter() - started) * 1000, attempt)
        raise NoAnswer(trouble)

    async def _post(self, route: Route, raw: bytes, seconds: float) -> httpx.Response:
        headers = {"content-type": "application/json", REQUEST_SIGN_HEADER: request_sign(self.key, raw)}
        return await self.http.post(f"{self.base_url}/{route}", content=raw, headers=headers, timeout=seconds)


def _read(route: Route, response: httpx.Response, milliseconds: float, attempts: int) -> Answer:
    try:
        if response.status_code == httpx.codes.OK:
            granted = msgspec.json.decode(response.content, type=Granted)
            return Answer(200, granted, "", "", milliseconds, attempts)
        if response.status_code == httpx.codes.BAD_REQUEST:
            error = msgspec.json.decode(response.content, type=_Error)
            return Answer(400, None, error.meta.api_code, error.msg, milliseconds, attempts)
    except msgspec.DecodeError as error:
        raise StrangeAnswer(f"{route}: HTTP {response.status_code} with a body that does not fit: {error}") from error
    raise StrangeAnswer(f"{route}: HTTP {response.status_code} is not an answer of this protocol")

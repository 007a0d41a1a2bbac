"""`POST /providers/{code}/session`: a provider's server exchanges a launch token for the session, once.

The same for all dialects, signed as the provider signs everything else; the answers are ours. A launch address that
somebody finds in a history, a log or a picture of a screen opens nothing any more (docs/decisions/0018).
"""

from decimal import Decimal
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog

from countroom.games.catalog import Provider
from countroom.games.dialects.port import Callback, Dialect, Reply
from countroom.games.launching import Begun
from countroom.money import format_amount
from countroom.refusal import Refusal

ACTION: Final = "session"
BODY_BYTES_MAX: Final = 4_096

_log: Final = structlog.get_logger()
_STATUSES: Final = {"unknown_token": 404, "token_used": 409, "token_expired": 409}


class _Asked(msgspec.Struct):
    token: str


class ExchangePort(Protocol):
    """What an exchange asks of the rooms."""

    async def exchange(self, provider: Provider, token: str) -> Begun:
        """Take a launch token of one of the provider's games; raises its refusal."""
        ...

    async def balance(self, user_id: UUID, currency: str) -> Decimal:
        """Return what the player can play with."""
        ...


async def answer(provider: Provider, dialect: Dialect, callback: Callback, port: ExchangePort) -> Reply:
    """Answer one exchange, also one that must be refused; never raises."""
    body = callback.body
    if body is None or len(body) > BODY_BYTES_MAX or callback.method != "POST":
        return _refuse(400, "malformed", "POST a small JSON object.")
    if not dialect.admits(provider, callback):
        return _refuse(401, "bad_signature", "The signature does not hold.")
    try:
        asked = msgspec.json.decode(body, type=_Asked)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _refuse(400, "malformed", "The body is a JSON object with a token, which is a string.")
    try:
        begun = await port.exchange(provider, asked.token)
        balance = await port.balance(begun.user_id, begun.currency)
    except Refusal as refusal:
        return _refuse(_STATUSES.get(refusal.code, 503), refusal.code, refusal.sentence)
    except Exception:  # noqa: BLE001 - the provider gets an answer; the player launches again
        _log.exception("an exchange failed", provider=provider.code)
        return _refuse(500, "internal_error", "Something went wrong on our side.")
    told = {
        "session_id": str(begun.session_id),
        "account_id": str(begun.user_id),
        "game_id": begun.game_id,
        "currency": begun.currency,
        "country": begun.country,
        "balance": format_amount(balance, begun.currency),
    }
    return Reply(200, msgspec.json.encode(told), "OK")


def _refuse(status: int, code: str, message: str) -> Reply:
    return Reply(status, msgspec.json.encode({"code": code, "message": message}), code)


OUT_OF_TIME: Final = _refuse(503, "overloaded", "Launch the game again.")

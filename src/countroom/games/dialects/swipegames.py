"""`swipegames`: the integration adapter of Swipe Games, version 1.

Four calls: `GET /balance`, `POST /bet`, `/win`, `/refund`, each about one transaction of the session that it names;
player and currency are the session's. Amounts are decimal strings in the main unit. `X-REQUEST-SIGN` = hex HMAC-SHA256
of the raw body, of a GET of the canonical JSON (RFC 8785) of its query. 401 is a wrong signature, 404 a session that
is not ours, 400 everything else that is final, 500 what is tried again: a bet that got 500 is refunded, a win or
refund is repeated until it gets 200.
Policies: a repeat gets the first answer; a win ends its round, also one of 0; a refund is of a whole bet, and of a bet
that never came it is accepted. `free` bets and wins are told and move nothing; the sum comes as a `regular` win.
Source: the provider's OpenAPI file and integration guide, 1.8.
"""

import json
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode

import msgspec
import structlog

from countroom.games.catalog import Provider
from countroom.games.dialects.port import Callback, Policies, Reply, Seat, WalletPort
from countroom.games.dialects.wire import Id, hmac_sha256_hex, hmac_sha256_holds, id_without_row, is_shared_secret
from countroom.games.sessions import PlayedSession
from countroom.money import ZERO, Money, format_amount
from countroom.refusal import Refusal
from countroom.wallet.commands import Answer, Bet, Command, Play, Reverse, Win

BODY_BYTES_MAX: Final = 64 * 1024
QUERY_FIELDS_MAX: Final = 20

_log = structlog.get_logger()


class _Bet(msgspec.Struct):
    type: Literal["regular", "free"]
    sessionID: Id  # noqa: N815 - the protocol's names
    amount: str
    txID: Id  # noqa: N815
    roundID: Id  # noqa: N815
    frID: Id | None = None  # noqa: N815


class _Win(_Bet):
    pass


class _Refund(msgspec.Struct):
    sessionID: Id  # noqa: N815
    txID: Id  # noqa: N815
    origTxID: Id  # noqa: N815
    amount: str
    roundID: Id | None = None  # noqa: N815


class _Refused(Exception):  # noqa: N818 - carries an answer of the protocol, not an error
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


_BODIES: Final[dict[str, msgspec.json.Decoder[_Bet | _Win | _Refund]]] = {
    "bet": msgspec.json.Decoder(_Bet),
    "win": msgspec.json.Decoder(_Win),
    "refund": msgspec.json.Decoder(_Refund),
}
_CODES: Final = {
    # Our refusals in the protocol's words; what it has no word for has its sentence alone.
    "insufficient_funds": "insufficient_funds",
    "player_blocked": "account_blocked",
    "no_open_session": "session_expired",
    "wrong_currency": "currency_not_supported",
    "unknown_currency": "currency_not_supported",
    "unknown_player": "session_not_found",
}
_encode: Final = msgspec.json.Encoder().encode


def canonical_query(query: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the RFC 8785 form of a query as a JSON object of strings, and its fields.

    Raises:
        ValueError: a field is there twice, or not UTF-8, or there are too many.
    """
    pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field is there twice")
    # Names are sorted as UTF-16 (RFC 8785, 3.2.3), and Python escapes strings as 3.2.2.2 wants it.
    ordered = dict(sorted(fields.items(), key=lambda field: field[0].encode("utf-16-be")))
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode(), fields


class Swipegames:
    """The dialect; see the module."""

    body_bytes_max = BODY_BYTES_MAX
    actions = frozenset({"balance", "bet", "win", "refund"})
    policies = Policies(
        unit="decimal string, main unit",
        sign="HMAC-SHA256 of the raw body; of a GET, of its query as canonical JSON; hex in `X-REQUEST-SIGN`",
        late_bet="refused",
        replay_balance="first",
        second_reversal="accepted, moves nothing",
        reversal_of_win="refused",
        win_without_bet="accepted",
        zero_win="accepted",
        closes_round="a win",
        free_rounds="`type: free` is told and moves nothing; one `regular` win with `frID` pays",
        balance_in_refusals="never",
        retryable="HTTP 500",
    )

    def admits(self, provider: Provider, callback: Callback) -> bool:
        """Whether one of the provider's keys signed exactly these bytes, or this query."""
        content = callback.body
        if content is None:
            return False
        if callback.method == "GET":
            try:
                content, _ = canonical_query(callback.query)
            except ValueError:
                return False
        return hmac_sha256_holds(provider.signing_keys, content, callback.headers.get(b"x-request-sign", b""))

    def accepts_key(self, key: str) -> bool:
        """Whether a text can be a signing key: a shared secret."""
        return is_shared_secret(key)

    def balance_call(self, key: bytes, seat: Seat) -> Callback:
        """Make the call that asks for a balance, as the provider would."""
        query = urlencode({"sessionID": str(seat.session_id)}).encode()
        content, _ = canonical_query(query)
        return Callback("balance", {b"x-request-sign": hmac_sha256_hex(key, content)}, b"", "GET", query)

    def unknown_provider(self) -> Reply:
        """Answer in the protocol's form: nobody knows this provider code."""
        return _refuse(_Refused(404, "Unknown provider."))

    def out_of_time(self, callback: Callback) -> Reply:
        """Answer 500: a bet will be refunded, anything else repeated."""
        del callback
        return _refuse(_Refused(500, "This took too long; try again."))

    async def answer(self, provider: Provider, callback: Callback, wallet: WalletPort) -> Reply:
        """Answer one call."""
        if callback.body is None:
            return _refuse(_Refused(400, f"The body is larger than {BODY_BYTES_MAX} bytes."))
        if not self.admits(provider, callback):
            return _refuse(_Refused(401, "Invalid signature."))
        try:
            return Reply(200, _encode(await self._dispatch(provider, callback, callback.body, wallet)), "OK")
        except _Refused as refused:
            return _refuse(refused)
        except Refusal as refusal:
            retryable = refusal.kind == "unavailable"
            return _refuse(_Refused(500 if retryable else 400, refusal.sentence, _CODES.get(refusal.code)))
        except Exception:  # noqa: BLE001 - the provider gets its own form, and tries again
            _log.exception("a callback failed", provider=provider.code, action=callback.action)
            return _refuse(_Refused(500, "Internal error."))

    async def _dispatch(
        self, provider: Provider, callback: Callback, body: bytes, wallet: WalletPort
    ) -> dict[str, str]:
        action = callback.action
        if (callback.method == "GET") != (action == "balance") or action not in self.actions:
            raise _Refused(404, "Unknown action.")
        if action == "balance":
            return await self._balance(provider, callback, wallet)
        try:
            call = _BODIES[action].decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _Refused(400, f"Malformed request: {error}") from error
        session = await wallet.session(provider, call.sessionID)
        if isinstance(call, _Refund):
            return await self._refund(provider, session, call, wallet)
        if session is None:
            raise _Refused(404, "There is no such session.", "session_not_found")
        amount = Money.parse(call.amount, session.currency).amount
        award = call.frID or ("free" if call.type == "free" else "")
        if isinstance(call, _Win):
            # A win of 0 says that the round has ended; it has an id, and is told once, like any other.
            pays = call.type == "regular" and amount > 0
            play = Play(session.game_id, call.roundID, session.id, close_round=True)
            operation: Bet | Win = Win(call.txID, amount, pays, award)
        else:
            play = Play(session.game_id, call.roundID, session.id)
            operation = Bet(call.txID, amount, call.type == "regular", award)
        command = Command(provider.code, session.user_id, session.currency, (operation,), play)
        return _answer(provider, await wallet.apply(command), session.currency)

    async def _balance(self, provider: Provider, callback: Callback, wallet: WalletPort) -> dict[str, str]:
        _, fields = canonical_query(callback.query)
        session = await wallet.session(provider, fields.get("sessionID", ""))
        if session is None:
            raise _Refused(404, "There is no such session.", "session_not_found")
        balance = await wallet.balance(session.user_id, session.currency)
        return {"balance": format_amount(balance, session.currency)}

    async def _refund(
        self, provider: Provider, session: PlayedSession | None, call: _Refund, wallet: WalletPort
    ) -> dict[str, str]:
        if session is None:
            # No bet was ever taken on it, nor will one be: there is nothing to note, and 200 ends the repetitions.
            return {"balance": "0", "txID": id_without_row(provider.code, call.txID)}
        amount = Money.parse(call.amount, session.currency).amount
        target = (await wallet.told(provider, [call.origTxID]))[call.origTxID]
        if target.type == "win":
            raise _Refused(400, "Only bets are refunded.")
        if target.type == "bet" and target.amount not in {ZERO, amount}:
            raise _Refused(400, "A refund is of the whole bet.")
        play = Play(session.game_id, call.roundID, session.id) if call.roundID is not None else None
        operations = (Reverse(call.txID, call.origTxID),)
        command = Command(provider.code, session.user_id, session.currency, operations, play)
        return _answer(provider, await wallet.apply(command), session.currency)


def _answer(provider: Provider, answer: Answer, currency: str) -> dict[str, str]:
    posted = answer.operations[0]
    own_id = str(posted.id) if posted.id is not None else id_without_row(provider.code, posted.key)
    return {"balance": format_amount(answer.balance, currency), "txID": own_id}


def _refuse(refused: _Refused) -> Reply:
    body = {"message": refused.message}
    if refused.code is not None:
        body["code"] = refused.code
    return Reply(refused.status, _encode(body), refused.code or str(refused.status))

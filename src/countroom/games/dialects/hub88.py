"""`hub88`: the seamless wallet that Hub88 calls at an operator.

Five calls: `/user/info`, `/user/balance`, `/transaction/bet`, `/transaction/win`, `/transaction/rollback`, each about
one transaction. Amounts are integers, a hundred thousandth of the main unit. `X-Hub88-Signature` = base64 of RSA-SHA256
(PKCS #1 v1.5) over the raw body; our keys for it are the provider's public ones, in PEM. Every answer is HTTP 200 and
has a `status`, and the `request_uuid` that it was asked with.
Policies: a repeat gets the first answer; a win names its bet (`reference_transaction_uuid`), and is refused when that
never came or was rolled back; a rollback of something not seen is accepted, and the late bet is refused; a second
rollback of one bet, under another id, is refused. A bet needs a valid `token`, wins and rollbacks do not: they may
come long after it has expired. A player may change games within a session, in a live lobby. A free bet
(`is_free`) moves nothing, a free win pays.
Source: the provider's operator wallet API and its list of statuses, with the gaps that are named in the answers below.
"""

import base64
import binascii
from functools import lru_cache
from typing import Final
from uuid import UUID

import msgspec
import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from countroom.games.catalog import Provider
from countroom.games.dialects.port import Callback, Policies, Reply, Seat, WalletPort
from countroom.games.dialects.wire import Id, player, scaled_amount, scaled_balance
from countroom.games.sessions import PlayedSession
from countroom.money import EXPONENTS
from countroom.refusal import Refusal
from countroom.wallet.commands import Answer, Bet, Command, Play, Reverse, Win
from countroom.wallet.refusals import WalletRefusal

BODY_BYTES_MAX: Final = 64 * 1024
DECIMALS: Final = 5
"""Of amounts: 100,000 is one unit of the currency."""
_PADDING: Final = PKCS1v15()
_SHA256: Final = hashes.SHA256()

_log = structlog.get_logger()


class _Info(msgspec.Struct):
    user: Id
    request_uuid: Id


class _Balance(msgspec.Struct):
    request_uuid: Id
    token: Id
    user: Id | None = None
    game_code: str | None = None


class _Bet(msgspec.Struct):
    user: Id
    transaction_uuid: Id
    token: Id
    round: Id
    request_uuid: Id
    game_code: Id
    currency: Id
    amount: msgspec.Raw
    round_closed: bool | None = None
    is_free: bool | None = None
    reward_uuid: str | None = None


class _Win(msgspec.Struct):
    user: Id
    transaction_uuid: Id
    reference_transaction_uuid: Id
    round: Id
    request_uuid: Id
    game_code: Id
    currency: Id
    amount: msgspec.Raw
    token: str | None = None
    round_closed: bool | None = None
    is_free: bool | None = None
    reward_uuid: str | None = None


class _Rollback(msgspec.Struct):
    transaction_uuid: Id
    reference_transaction_uuid: Id
    round: Id
    request_uuid: Id
    game_code: str | None = None
    token: str | None = None
    round_closed: bool | None = None
    user: str | None = None
    currency: str | None = None


class _Asked(msgspec.Struct):
    """What is needed to say "no"."""

    request_uuid: str | None = None


class _Refused(Exception):  # noqa: N818 - carries an answer of the protocol, not an error
    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


_BODIES: Final[dict[str, msgspec.json.Decoder[_Info | _Balance | _Bet | _Win | _Rollback]]] = {
    "user/info": msgspec.json.Decoder(_Info),
    "user/balance": msgspec.json.Decoder(_Balance),
    "transaction/bet": msgspec.json.Decoder(_Bet),
    "transaction/win": msgspec.json.Decoder(_Win),
    "transaction/rollback": msgspec.json.Decoder(_Rollback),
}
_asked: Final = msgspec.json.Decoder(_Asked)
_encode: Final = msgspec.json.Encoder().encode

OK: Final = "RS_OK"
UNKNOWN: Final = "RS_ERROR_UNKNOWN"
"""What the provider tries again, too: it has no other word for it."""
WRONG_SYNTAX: Final = "RS_ERROR_WRONG_SYNTAX"
WRONG_TYPES: Final = "RS_ERROR_WRONG_TYPES"
DOES_NOT_EXIST: Final = "RS_ERROR_TRANSACTION_DOES_NOT_EXIST"
ROLLED_BACK: Final = "RS_ERROR_TRANSACTION_ROLLED_BACK"
INVALID_TOKEN: Final = "RS_ERROR_INVALID_TOKEN"  # noqa: S105 - a status
_STATUSES: Final = {
    # Our refusals in the protocol's words. What contradicts what is there is a duplicate in its list:
    # "a different reference, amount, currency, round, user or game".
    "insufficient_funds": "RS_ERROR_NOT_ENOUGH_MONEY",
    "player_blocked": "RS_ERROR_USER_DISABLED",
    "no_open_session": "RS_ERROR_TOKEN_EXPIRED",
    # Of a game into which a player goes from another: it is a launch.
    "game_unavailable": "RS_ERROR_INVALID_GAME",
    "country_not_allowed": "RS_ERROR_INVALID_GAME",
    "already_playing": "RS_ERROR_INVALID_GAME",
    "currency_not_played": "RS_ERROR_WRONG_CURRENCY",
    "identity_not_verified": "RS_ERROR_USER_DISABLED",
    "identity_rejected": "RS_ERROR_USER_DISABLED",
    "wrong_currency": "RS_ERROR_WRONG_CURRENCY",
    "unknown_currency": "RS_ERROR_WRONG_CURRENCY",
    "unknown_player": INVALID_TOKEN,
    "key_conflict": "RS_ERROR_DUPLICATE_TRANSACTION",
    "foreign_round": "RS_ERROR_DUPLICATE_TRANSACTION",
    "round_closed": "RS_ERROR_DUPLICATE_TRANSACTION",
    "not_reversible": DOES_NOT_EXIST,
    "round_not_found": DOES_NOT_EXIST,
    "rolled_back": ROLLED_BACK,
    "invalid_amount": WRONG_TYPES,
    "invalid_operation": WRONG_TYPES,
}


class Hub88:
    """The dialect; see the module."""

    body_bytes_max = BODY_BYTES_MAX
    actions = frozenset(_BODIES)
    policies = Policies(
        unit="integer, 1/100,000 of the main unit",
        sign="RSA-SHA256 (PKCS #1 v1.5) of the raw body, base64 in `X-Hub88-Signature`; our keys are public, in PEM",
        late_bet="refused",
        replay_balance="first",
        second_reversal="refused",
        reversal_of_win="accepted",
        win_without_bet="refused",
        zero_win="accepted",
        closes_round="`round_closed`",
        free_rounds="a bet with `is_free` moves nothing, a win with it pays; both carry `reward_uuid`",
        balance_in_refusals="funds",
        retryable="`RS_ERROR_UNKNOWN`",
    )

    def admits(self, provider: Provider, callback: Callback) -> bool:
        """Whether one of the provider's keys signed exactly these bytes."""
        if callback.body is None:
            return False
        try:
            signature = base64.b64decode(callback.headers.get(b"x-hub88-signature", b""), validate=True)
        except binascii.Error:
            return False
        return any(_holds(key, signature, callback.body) for key in provider.signing_keys)

    def accepts_key(self, key: str) -> bool:
        """Whether a text can be one of our keys for it: an RSA public key in PEM."""
        return _public_key(key.encode()) is not None

    def balance_call(self, key: bytes, seat: Seat) -> Callback:
        """Make the call that asks for a balance; only the provider can sign it, so that it is refused."""
        del key
        asked = {"request_uuid": str(seat.session_id), "token": "no-token", "user": str(seat.user_id)}
        return Callback("user/balance", {}, _encode(asked))

    def unknown_provider(self) -> Reply:
        """Answer in the protocol's form: nobody knows this provider code."""
        return _refuse("RS_ERROR_INVALID_PARTNER", None)

    def out_of_time(self, callback: Callback) -> Reply:
        """Answer that it is not known what became of it: it will be asked or rolled back."""
        return _refuse(UNKNOWN, callback.body)

    async def answer(self, provider: Provider, callback: Callback, wallet: WalletPort) -> Reply:
        """Answer one call."""
        body = callback.body
        if body is None:
            return _refuse(WRONG_SYNTAX, None)
        if not self.admits(provider, callback):
            return _refuse("RS_ERROR_INVALID_SIGNATURE", body)
        try:
            return Reply(200, _encode(await self._dispatch(provider, callback.action, body, wallet)), OK)
        except _Refused as refused:
            return _refuse(refused.status, body)
        except Refusal as refusal:
            return _refuse(_STATUSES.get(refusal.code, UNKNOWN), body, refusal)
        except Exception:  # noqa: BLE001 - the provider gets its own form, and tries again
            _log.exception("a callback failed", provider=provider.code, action=callback.action)
            return _refuse(UNKNOWN, body)

    async def _dispatch(self, provider: Provider, action: str, body: bytes, wallet: WalletPort) -> dict[str, object]:
        decoder = _BODIES.get(action)
        if decoder is None:
            raise _Refused(WRONG_SYNTAX)
        try:
            call = decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _Refused(WRONG_SYNTAX if "missing required" in str(error) else WRONG_TYPES) from error
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _Refused(WRONG_SYNTAX) from error
        if isinstance(call, _Bet):
            return await self._bet(provider, call, wallet)
        if isinstance(call, _Win):
            return await self._win(provider, call, wallet)
        if isinstance(call, _Rollback):
            return await self._rollback(provider, call, wallet)
        if isinstance(call, _Info):
            user_id = player(call.user)
            info: dict[str, object] = {"status": OK, "request_uuid": call.request_uuid, "user": str(user_id)}
            country = await wallet.country(user_id)
            return info | ({"country": country} if country is not None else {})
        session = await self._session(provider, call.token, call.user, wallet)
        balance = await wallet.balance(session.user_id, session.currency)
        return {
            "status": OK,
            "request_uuid": call.request_uuid,
            "user": str(session.user_id),
            "currency": session.currency,
            "balance": scaled_balance(balance, DECIMALS),
        }

    async def _session(self, provider: Provider, token: str, user: str | None, wallet: WalletPort) -> PlayedSession:
        session = await wallet.session_of_token(provider, token)
        if session is None or (user is not None and player(user) != session.user_id):
            raise _Refused(INVALID_TOKEN)
        return session

    async def _bet(self, provider: Provider, call: _Bet, wallet: WalletPort) -> dict[str, object]:
        _known_currency(call.currency)
        session = await self._session(provider, call.token, call.user, wallet)
        if session.currency != call.currency:
            raise _Refused("RS_ERROR_WRONG_CURRENCY")
        session = await wallet.enter_game(session, _game(provider, call.game_code))
        amount = scaled_amount(call.amount, DECIMALS, call.currency)
        play = Play(session.game_id, call.round, session.id, bool(call.round_closed))
        bet = Bet(call.transaction_uuid, amount, not call.is_free, _award(call))
        command = Command(provider.code, session.user_id, call.currency, (bet,), play)
        return _answered(call.request_uuid, command, await wallet.apply(command))

    async def _win(self, provider: Provider, call: _Win, wallet: WalletPort) -> dict[str, object]:
        _known_currency(call.currency)
        amount = scaled_amount(call.amount, DECIMALS, call.currency)
        user_id, game_id = player(call.user), _game(provider, call.game_code)
        told = await wallet.told(provider, [call.transaction_uuid, call.reference_transaction_uuid])
        bet = told[call.reference_transaction_uuid]
        if not told[call.transaction_uuid].type:
            if bet.type != "bet" or bet.user_id != user_id:
                raise _Refused(DOES_NOT_EXIST)
            if bet.reversed_by is not None:
                raise _Refused(ROLLED_BACK)
        play = Play(game_id, call.round, None, bool(call.round_closed), win_needs_round=True)
        win = Win(call.transaction_uuid, amount, amount > 0, _award(call))
        command = Command(provider.code, user_id, call.currency, (win,), play)
        return _answered(call.request_uuid, command, await wallet.apply(command))

    async def _rollback(self, provider: Provider, call: _Rollback, wallet: WalletPort) -> dict[str, object]:
        told = await wallet.told(provider, [call.transaction_uuid, call.reference_transaction_uuid])
        target = told[call.reference_transaction_uuid]
        if target.reversed_by not in {None, call.transaction_uuid} and not told[call.transaction_uuid].type:
            raise _Refused(ROLLED_BACK)
        # The protocol names no player here, and its token may be long gone: then the bet itself tells.
        session = await wallet.session_of_token(provider, call.token) if call.token else None
        if session is not None:
            user_id, currency = session.user_id, session.currency
        elif target.user_id is not None and target.currency:
            user_id, currency = target.user_id, target.currency
        elif call.user and call.currency:
            user_id, currency = player(call.user), call.currency
        else:
            raise _Refused(INVALID_TOKEN)
        if target.type and target.user_id != user_id:
            raise _Refused(DOES_NOT_EXIST)
        _known_currency(currency)
        game_id = provider.games.get(call.game_code or "")
        play = Play(game_id, call.round, None, bool(call.round_closed)) if game_id is not None else None
        operations = (Reverse(call.transaction_uuid, call.reference_transaction_uuid),)
        command = Command(provider.code, user_id, currency, operations, play)
        return _answered(call.request_uuid, command, await wallet.apply(command))


def _holds(key: bytes, signature: bytes, body: bytes) -> bool:
    public_key = _public_key(key)
    if public_key is None:
        return False
    try:
        public_key.verify(signature, body, _PADDING, _SHA256)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=1_024)
def _public_key(pem: bytes) -> RSAPublicKey | None:
    """Read a key, once: that costs several times what checking a signature does."""
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, RSAPublicKey):
        _log.error("a signing key is no RSA public key in PEM; it admits nothing")
        return None
    return key


def _known_currency(currency: str) -> None:
    if currency not in EXPONENTS:
        raise _Refused("RS_ERROR_WRONG_CURRENCY")


def _game(provider: Provider, slug: str) -> UUID:
    game_id = provider.games.get(slug)
    if game_id is None:
        raise _Refused("RS_ERROR_INVALID_GAME")
    return game_id


def _award(call: _Bet | _Win) -> str:
    return (call.reward_uuid or "free") if call.is_free else (call.reward_uuid or "")


def _answered(request_uuid: str, command: Command, answer: Answer) -> dict[str, object]:
    return {
        "status": OK,
        "request_uuid": request_uuid,
        "user": str(command.user_id),
        "currency": command.currency,
        "balance": scaled_balance(answer.balance, DECIMALS),
    }


def _refuse(status: str, body: bytes | None, refusal: Refusal | None = None) -> Reply:
    """Say no, with the request's id as far as it can be read, and the balance where there is one."""
    answer: dict[str, object] = {"status": status}
    try:
        request_uuid = _asked.decode(body or b"{}").request_uuid
    except (msgspec.MsgspecError, ValueError, RecursionError):
        request_uuid = None
    if request_uuid is not None:
        answer["request_uuid"] = request_uuid
    if isinstance(refusal, WalletRefusal) and refusal.balance is not None:
        answer["balance"] = scaled_balance(refusal.balance, DECIMALS)
    return Reply(200, _encode(answer), status)

"""`softswiss-v2`: the seamless wallet of the SOFTSWISS game aggregator, second version.

Four calls (balance, betwin, rollback, finish), JSON, amounts as decimal strings in the main unit,
`X-REQUEST-SIGN` = hex HMAC-SHA256 of the raw body. There are two HTTP statuses only: 400 for what
is final and 500 for what the provider shall try again; the meaning is in `meta.api_code`.
Policies: a repeat gets the stored ids and balance; a rollback of something not seen gets 200 with
an empty id and leaves a tombstone; the late bet gets 409; funds errors carry the balance.
"""

from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Final
from uuid import UUID

import msgspec
import structlog

from countroom.clock import parse_id
from countroom.games.catalog import Provider
from countroom.games.dialects.port import Callback, Policies, Reply, Seat, WalletPort
from countroom.games.dialects.wire import (
    OPERATIONS_MAX,
    Id,
    hmac_sha256_hex,
    hmac_sha256_holds,
    is_shared_secret,
    player,
)
from countroom.money import EXPONENTS, Money, format_amount
from countroom.refusal import Refusal
from countroom.wallet.commands import Answer, Bet, Command, Operation, Play, Reverse, Win
from countroom.wallet.refusals import WalletRefusal, WrongCurrency

BODY_BYTES_MAX: Final = 64 * 1024
"""The protocol's own cap."""
_log = structlog.get_logger()

_Currency = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z][A-Z0-9_]{2,31}\Z")]


class _Balance(msgspec.Struct):
    account_id: Id
    currency: _Currency
    game_id: Id
    session_id: str | None = None


class _BetWinTransaction(msgspec.Struct):
    id_provider: Id
    type: str
    amount: str


class _BetWin(msgspec.Struct):
    account_id: Id
    currency: _Currency
    game_id: Id
    round_id: Id
    transactions: Annotated[list[_BetWinTransaction], msgspec.Meta(min_length=1, max_length=OPERATIONS_MAX)]
    finished: bool = False
    session_id: str | None = None


class _RollbackTransaction(msgspec.Struct):
    id_provider: Id
    original_id_provider: Id
    type: str = "rollback"


class _Rollback(msgspec.Struct):
    account_id: Id
    currency: _Currency
    round_id_provider: Id
    transactions: Annotated[list[_RollbackTransaction], msgspec.Meta(min_length=1, max_length=OPERATIONS_MAX)]
    game_id: str | None = None
    finished: bool = False
    session_id: str | None = None


class _Finish(msgspec.Struct):
    account_id: Id
    currency: _Currency
    round_id: Id
    session_id: str | None = None


class _Refused(Exception):  # noqa: N818 - carries an answer of the protocol, not an error
    def __init__(self, api_code: str, message: str, balance: str | None = None) -> None:
        super().__init__(message)
        self.api_code, self.message, self.balance = api_code, message, balance


_API_CODES: Final = {
    # Our refusals in the protocol's numbers. 100, 105 and 106 must carry the balance.
    "insufficient_funds": "100",
    "unknown_player": "101",
    "no_open_session": "101",
    "player_blocked": "110",
    "wrong_currency": "154",
    "unknown_currency": "154",
    "rolled_back": "409",
    "round_not_found": "404",
    "overloaded": "503",
}
_RETRYABLE_FROM: Final = "500"
"""Codes from here on are answered with HTTP 500: the provider tries again with the same ids."""
_BODIES: Final[dict[str, msgspec.json.Decoder[_Balance | _BetWin | _Rollback | _Finish]]] = {
    "balance": msgspec.json.Decoder(_Balance),
    "betwin": msgspec.json.Decoder(_BetWin),
    "rollback": msgspec.json.Decoder(_Rollback),
    "finish": msgspec.json.Decoder(_Finish),
}
_encode: Final = msgspec.json.Encoder().encode


class SoftswissV2:
    """The dialect; see the module."""

    body_bytes_max = BODY_BYTES_MAX
    actions = frozenset(_BODIES)
    policies = Policies(
        unit="decimal string, main unit",
        sign="HMAC-SHA256 of the raw body, hex in `X-REQUEST-SIGN`",
        late_bet="refused",
        replay_balance="first",
        second_reversal="accepted, moves nothing",
        reversal_of_win="accepted",
        win_without_bet="accepted",
        zero_win="refused",
        closes_round="`finished`, or `/finish`",
        free_rounds="another interface of the provider's",
        balance_in_refusals="always",
        retryable="HTTP 500",
    )

    def admits(self, provider: Provider, callback: Callback) -> bool:
        """Whether one of the provider's keys signed exactly these bytes."""
        if callback.body is None:
            return False
        return hmac_sha256_holds(provider.signing_keys, callback.body, callback.headers.get(b"x-request-sign", b""))

    def accepts_key(self, key: str) -> bool:
        """Whether a text can be a signing key: a shared secret."""
        return is_shared_secret(key)

    def balance_call(self, key: bytes, seat: Seat) -> Callback:
        """Make the call that asks for a balance, as the provider would."""
        body = _encode({"account_id": str(seat.user_id), "currency": seat.currency, "game_id": seat.game})
        return Callback("balance", {b"x-request-sign": hmac_sha256_hex(key, body)}, body)

    def unknown_provider(self) -> Reply:
        """Answer in the protocol's form: nobody knows this provider code."""
        return _refuse(_Refused("404", "unknown provider"))

    def out_of_time(self, callback: Callback) -> Reply:
        """Answer so that the provider asks again."""
        del callback
        return _refuse(_Refused("504", "this took too long; try again"))

    async def answer(self, provider: Provider, callback: Callback, wallet: WalletPort) -> Reply:
        """Answer one call."""
        if callback.body is None:
            return _refuse(_Refused("400", f"the body is larger than {BODY_BYTES_MAX} bytes"))
        if not self.admits(provider, callback):
            return _refuse(_Refused("403", "invalid signature"))
        try:
            return Reply(200, _encode(await self._dispatch(provider, callback.action, callback.body, wallet)), "OK")
        except _Refused as refused:
            return _refuse(refused)
        except Exception:  # noqa: BLE001 - the provider gets its own form, and tries again
            _log.exception("a callback failed", provider=provider.code, action=callback.action)
            return _refuse(_Refused("500", "internal error"))

    async def _dispatch(self, provider: Provider, action: str, body: bytes, wallet: WalletPort) -> dict[str, object]:
        decoder = _BODIES.get(action)
        if decoder is None:
            raise _Refused("404", "unknown action")
        try:
            call = decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _Refused("400", f"malformed request: {error}") from error
        currency = call.currency
        try:
            if currency not in EXPONENTS:
                raise WrongCurrency
            user_id = player(call.account_id)
            if isinstance(call, _Balance):
                return {"balance": format_amount(await self._balance(provider, call, user_id, wallet), currency)}
            if isinstance(call, _Finish):
                answer = await self._finish(provider, call, user_id, wallet)
                return {"balance": format_amount(answer.balance, currency)}
            if isinstance(call, _BetWin):
                answer = await wallet.apply(_bet_win(provider, call, user_id))
                return _bet_win_answer(answer, currency)
            answer = await wallet.apply(_rollback(provider, call, user_id))
            return _rollback_answer(answer, currency)
        except Refusal as refusal:
            balance = refusal.balance if isinstance(refusal, WalletRefusal) else None
            api_code = _API_CODES.get(refusal.code, "400")
            shown = format_amount(balance, currency) if balance is not None else None
            raise _Refused(api_code, refusal.sentence, shown) from refusal

    async def _balance(self, provider: Provider, call: _Balance, user_id: UUID, wallet: WalletPort) -> Decimal:
        _game(provider, call.game_id)
        return await wallet.balance(user_id, call.currency)

    async def _finish(self, provider: Provider, call: _Finish, user_id: UUID, wallet: WalletPort) -> Answer:
        await wallet.balance(user_id, call.currency)  # an unknown player or currency is said before an unknown round
        game_id = await wallet.game_of_round(provider, user_id, call.round_id)
        if game_id is None:
            raise _Refused("404", "unknown round")
        play = Play(game_id, call.round_id, close_round=True)
        return await wallet.apply(Command(provider.code, user_id, call.currency, (), play))


@lru_cache(maxsize=65_536)
def _session(session_id: str | None) -> UUID | None:
    """Read a session id; one that is not ours names no session, and says so when it matters (a bet)."""
    if not session_id:
        return None
    try:
        return parse_id(session_id)
    except ValueError:
        return UUID(int=0)


def _game(provider: Provider, slug: str) -> UUID:
    game_id = provider.games.get(slug)
    if game_id is None:
        raise _Refused("405", "unknown game")
    return game_id


def _bet_win(provider: Provider, call: _BetWin, user_id: UUID) -> Command:
    operations: list[Operation] = []
    for index, transaction in enumerate(call.transactions):
        amount = Money.parse(transaction.amount, call.currency).amount
        if amount == 0:
            raise _Refused("400", f"transactions[{index}].amount: must be greater than zero")
        if transaction.type == "bet":
            operations.append(Bet(transaction.id_provider, amount))
        elif transaction.type == "win":
            operations.append(Win(transaction.id_provider, amount))
        else:
            raise _Refused("400", f"transactions[{index}].type: must be bet or win")
    play = Play(_game(provider, call.game_id), call.round_id, _session(call.session_id), call.finished)
    return Command(provider.code, user_id, call.currency, tuple(operations), play)


def _rollback(provider: Provider, call: _Rollback, user_id: UUID) -> Command:
    if any(transaction.type != "rollback" for transaction in call.transactions):
        raise _Refused("400", "transactions[].type: must be rollback")
    operations = tuple(
        Reverse(transaction.id_provider, transaction.original_id_provider) for transaction in call.transactions
    )
    # A reversal is always accepted: a game that is missing or unknown costs the round's state only.
    game_id = provider.games.get(call.game_id or "")
    play = Play(game_id, call.round_id_provider, None, call.finished) if game_id is not None else None
    return Command(provider.code, user_id, call.currency, operations, play)


def _bet_win_answer(answer: Answer, currency: str) -> dict[str, object]:
    return {
        "round_id": str(answer.round_id),
        "balance": format_amount(answer.balance, currency),
        "transactions": [
            {"id_provider": posted.key, "id": str(posted.id), "bonus_amount": format_amount(posted.bonus, currency)}
            for posted in answer.operations
        ],
    }


def _rollback_answer(answer: Answer, currency: str) -> dict[str, object]:
    return {
        "round_id": str(answer.round_id or ""),
        "balance": format_amount(answer.balance, currency),
        "transactions": [{"id_provider": posted.key, "id": str(posted.id or "")} for posted in answer.operations],
    }


def _refuse(refused: _Refused) -> Reply:
    retryable = refused.api_code >= _RETRYABLE_FROM
    meta = {"api_code": refused.api_code, "api_message": refused.message}
    if refused.balance is not None:
        meta["balance"] = refused.balance
    code = "internal" if retryable else "invalid_argument"
    body = _encode({"code": code, "msg": refused.message, "meta": meta})
    return Reply(500 if retryable else 400, body, refused.api_code)

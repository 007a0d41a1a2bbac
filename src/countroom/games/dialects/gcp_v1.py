"""`gcp-v1`: the "actions" protocol, the first version of the SOFTSWISS family.

`POST /process` with a list of actions (bet, win, rollback), which happen in order, all or none; without actions it asks
for the balance. `POST /rollback` is the same with rollbacks only; `POST /freespins` pays what free spins have won.
Amounts are integers in the currency's smallest unit. `Authorization: HMAC-SHA256 <hex>` over the raw body; a wrong or
missing one is HTTP 403. Refusals are HTTP 400 with `{code, message}`, what is tried again is HTTP 500.
Policies: every action has a `tx_id` in the answer, the same one for ever for its `action_id`; the balance is always the
current one. A rollback of something not seen is accepted, and so is what it named when that comes later: it gets a
`tx_id` of its own and moves nothing.
Source: the protocol's public documentation; `/freespins` from a secondary source.
"""

from contextlib import suppress
from decimal import Decimal
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
import structlog

from countroom.games.catalog import Provider
from countroom.games.dialects.port import Callback, Policies, Reply, Seat, WalletPort
from countroom.games.dialects.wire import (
    OPERATIONS_MAX,
    Id,
    hmac_sha256_hex,
    hmac_sha256_holds,
    id_without_row,
    is_shared_secret,
    player,
    scaled_amount,
    scaled_balance,
)
from countroom.money import EXPONENTS
from countroom.refusal import Refusal
from countroom.wallet.commands import Answer, Bet, Command, Operation, Play, Reverse, Win
from countroom.wallet.refusals import RoundNotFound, WrongCurrency

BODY_BYTES_MAX: Final = 64 * 1024
SCHEME: Final = b"HMAC-SHA256 "

_log = structlog.get_logger()


class _Action(msgspec.Struct):
    action: str
    action_id: Id
    amount: msgspec.Raw = msgspec.Raw(b"")
    original_action_id: Id | None = None


class _Process(msgspec.Struct):
    user_id: Id
    currency: Id
    game: Id | None = None
    game_id: Id | None = None
    finished: bool | None = None
    actions: Annotated[list[_Action], msgspec.Meta(max_length=OPERATIONS_MAX)] | None = None
    session_id: str | None = None


class _FreeSpins(msgspec.Struct):
    user_id: Id
    currency: Id
    issue_id: Annotated[str, msgspec.Meta(min_length=1, max_length=180, pattern=r"\A[^\x00-\x1f]+\Z")]
    status: Literal["played", "expired"]
    total_amount: msgspec.Raw
    game: str | None = None


class _Refused(Exception):  # noqa: N818 - carries an answer of the protocol, not an error
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


_CODES: Final = {
    # Our refusals in the protocol's numbers.
    "insufficient_funds": 100,
    "unknown_player": 101,
    "no_open_session": 101,
    "player_blocked": 110,
    "wrong_currency": 154,
    "unknown_currency": 154,
    "round_not_found": 404,
    "overloaded": 503,
}
BAD_REQUEST: Final = 400
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
UNKNOWN_GAME: Final = 405
INTERNAL: Final = 500
OUT_OF_TIME: Final = 504
_process: Final = msgspec.json.Decoder(_Process)
_free_spins: Final = msgspec.json.Decoder(_FreeSpins)
_encode: Final = msgspec.json.Encoder().encode


class GcpV1:
    """The dialect; see the module."""

    body_bytes_max = BODY_BYTES_MAX
    actions = frozenset({"process", "play", "rollback", "freespins"})
    policies = Policies(
        unit="integer, the currency's smallest unit",
        sign="HMAC-SHA256 of the raw body, `Authorization: HMAC-SHA256 <hex>`",
        late_bet="accepted, moves nothing",
        replay_balance="current",
        second_reversal="accepted, moves nothing",
        reversal_of_win="accepted",
        win_without_bet="accepted",
        zero_win="accepted",
        closes_round="`finished`",
        free_rounds="`/freespins` pays their sum, once for an `issue_id`",
        balance_in_refusals="never",
        retryable="HTTP 500",
    )

    def admits(self, provider: Provider, callback: Callback) -> bool:
        """Whether one of the provider's keys signed exactly these bytes."""
        given = callback.headers.get(b"authorization", b"")
        if callback.body is None or not given.startswith(SCHEME):
            return False
        return hmac_sha256_holds(provider.signing_keys, callback.body, given[len(SCHEME) :])

    def accepts_key(self, key: str) -> bool:
        """Whether a text can be a signing key: a shared secret."""
        return is_shared_secret(key)

    def balance_call(self, key: bytes, seat: Seat) -> Callback:
        """Make the call that asks for a balance, as the provider would: one without actions."""
        body = _encode({"user_id": str(seat.user_id), "currency": seat.currency, "game": seat.game})
        return Callback("process", {b"authorization": SCHEME + hmac_sha256_hex(key, body)}, body)

    def unknown_provider(self) -> Reply:
        """Answer in the protocol's form: nobody knows this provider code."""
        return _refuse(_Refused(NOT_FOUND, "unknown provider"))

    def out_of_time(self, callback: Callback) -> Reply:
        """Answer so that the provider asks again."""
        del callback
        return _refuse(_Refused(OUT_OF_TIME, "this took too long; try again"))

    async def answer(self, provider: Provider, callback: Callback, wallet: WalletPort) -> Reply:
        """Answer one call."""
        if callback.body is None:
            return _refuse(_Refused(BAD_REQUEST, f"the body is larger than {BODY_BYTES_MAX} bytes"))
        if not self.admits(provider, callback):
            return _refuse(_Refused(FORBIDDEN, "invalid signature"))
        try:
            return Reply(200, _encode(await self._dispatch(provider, callback.action, callback.body, wallet)), "OK")
        except _Refused as refused:
            return _refuse(refused)
        except Refusal as refusal:
            return _refuse(_Refused(_CODES.get(refusal.code, BAD_REQUEST), refusal.sentence))
        except Exception:  # noqa: BLE001 - the provider gets its own form, and tries again
            _log.exception("a callback failed", provider=provider.code, action=callback.action)
            return _refuse(_Refused(INTERNAL, "internal error"))

    async def _dispatch(self, provider: Provider, action: str, body: bytes, wallet: WalletPort) -> dict[str, object]:
        if action not in self.actions:
            raise _Refused(NOT_FOUND, "unknown action")
        try:
            if action == "freespins":
                return await self._pay_free_spins(provider, _free_spins.decode(body), wallet)
            call = _process.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _Refused(BAD_REQUEST, f"malformed request: {error}") from error
        if call.currency not in EXPONENTS:
            raise WrongCurrency
        user_id = player(call.user_id)
        if not call.actions:
            return {"balance": await self._balance(provider, call, user_id, wallet)}
        command = _command(provider, call, call.actions, user_id, rollbacks_only=action == "rollback")
        answer = await wallet.apply(command)
        # The first answer's balance is remembered with it; this protocol wants to know what is there now.
        balance = await wallet.balance(user_id, call.currency) if answer.repeated else answer.balance
        return _answered(provider, call, answer, balance)

    async def _balance(self, provider: Provider, call: _Process, user_id: UUID, wallet: WalletPort) -> msgspec.Raw:
        balance = await wallet.balance(user_id, call.currency)
        if call.finished and call.game_id is not None:
            play = Play(_game(provider, call.game), call.game_id, _session(call.session_id), close_round=True)
            with suppress(RoundNotFound):  # without actions this is a look-up, whatever it says of a round
                await wallet.apply(Command(provider.code, user_id, call.currency, (), play))
        return scaled_balance(balance, EXPONENTS[call.currency])

    async def _pay_free_spins(self, provider: Provider, call: _FreeSpins, wallet: WalletPort) -> dict[str, object]:
        if call.currency not in EXPONENTS:
            raise WrongCurrency
        user_id = player(call.user_id)
        amount = scaled_amount(call.total_amount, EXPONENTS[call.currency], call.currency)
        # The protocol names no game: it is the one that the player has launched last, unless the call tells.
        game_id = provider.games.get(call.game or "") or await wallet.latest_game(provider, user_id)
        if game_id is None:
            raise _Refused(UNKNOWN_GAME, "unknown game")
        key = f"freespins:{call.issue_id}"
        known = (await wallet.told(provider, [key]))[key]
        play = Play(known.game_id or game_id, key, None, close_round=True)
        win = Win(key, amount, amount > 0, call.issue_id)
        answer = await wallet.apply(Command(provider.code, user_id, call.currency, (win,), play))
        balance = await wallet.balance(user_id, call.currency) if answer.repeated else answer.balance
        return {"balance": scaled_balance(balance, EXPONENTS[call.currency])}


def _command(
    provider: Provider, call: _Process, actions: list[_Action], user_id: UUID, *, rollbacks_only: bool
) -> Command:
    operations: list[Operation] = []
    plays = False
    for index, action in enumerate(actions):
        if action.action == "rollback":
            if action.original_action_id is None:
                raise _Refused(BAD_REQUEST, f"actions[{index}].original_action_id: required")
            operations.append(Reverse(action.action_id, action.original_action_id))
            continue
        if rollbacks_only or action.action not in {"bet", "win"} or not bytes(action.amount):
            raise _Refused(BAD_REQUEST, f"actions[{index}]: not an action of this call, or without its amount")
        amount = scaled_amount(action.amount, EXPONENTS[call.currency], call.currency)
        plays = True
        if action.action == "bet":
            if amount == 0:
                raise _Refused(BAD_REQUEST, f"actions[{index}].amount: must be greater than zero")
            operations.append(Bet(action.action_id, amount))
        else:
            operations.append(Win(action.action_id, amount, amount > 0))
    if plays and call.game_id is None:
        raise _Refused(BAD_REQUEST, "game_id: required for bets and wins")
    # A reversal is always accepted: a game that is missing or unknown costs the round's state only.
    game_id = _game(provider, call.game) if plays else _find_game(provider, call.game)
    play = None
    if game_id is not None and call.game_id is not None:
        play = Play(game_id, call.game_id, _session(call.session_id), bool(call.finished), accept_reversed=True)
    return Command(provider.code, user_id, call.currency, tuple(operations), play)


def _find_game(provider: Provider, game: str | None) -> UUID | None:
    """Find a game by its name, which the protocol writes as ``provider:game``."""
    if game is None:
        return None
    return provider.games.get(game) or provider.games.get(game.partition(":")[2])


def _game(provider: Provider, game: str | None) -> UUID:
    game_id = _find_game(provider, game)
    if game_id is None:
        raise _Refused(UNKNOWN_GAME, "unknown game")
    return game_id


def _session(session_id: str | None) -> UUID | None:
    """Read a session id; one that is not ours names no session, and says so when it matters (a bet)."""
    if not session_id:
        return None
    try:
        return player(session_id)
    except Refusal:
        return UUID(int=0)


def _answered(provider: Provider, call: _Process, answer: Answer, balance: Decimal) -> dict[str, object]:
    return {
        "game_id": call.game_id or "",
        "transactions": [
            {
                "action_id": posted.key,
                "tx_id": str(posted.id) if posted.id is not None else id_without_row(provider.code, posted.key),
            }
            for posted in answer.operations
        ],
        "balance": scaled_balance(balance, EXPONENTS[call.currency]),
    }


def _refuse(refused: _Refused) -> Reply:
    status = refused.code if refused.code in {FORBIDDEN, NOT_FOUND} else BAD_REQUEST
    if refused.code >= INTERNAL:
        status = 500
    return Reply(status, _encode({"code": refused.code, "message": refused.message}), str(refused.code))

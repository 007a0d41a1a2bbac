"""Foreign callers, one for each dialect: they build, sign and send what such a provider sends, and read the answer.

What they are asked for is the same for all: bet, win, reverse, close, balance. What they were told is told in the
protocol's own words, which `WORDS` translates.
"""

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID, uuid4, uuid5

import rfc8785
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from httpx import Headers

from casino import Player
from countroom.games import service as games
from countroom.games.dialects import DIALECTS, Policies
from serving import Served

Word = tuple[int, str]
"""HTTP status, and the protocol's code."""


@dataclass(frozen=True)
class Outcome:
    word: Word
    balance: Decimal | None
    own_ids: tuple[str, ...]
    body: Any = field(compare=False)


@dataclass
class Seat:
    """A player at one of the provider's games."""

    player: Player
    session_id: str
    token: str


@dataclass
class Caller:
    """One provider, in one scenario: its ids are like no others."""

    served: Served
    run: UUID = field(default_factory=uuid4)
    key_number: int = 0

    dialect: ClassVar[str]
    WORDS: ClassVar[dict[str, Word]]
    OK: ClassVar[Word] = (200, "")

    @property
    def code(self) -> str:
        return f"a-{self.dialect}"

    @property
    def game(self) -> str:
        return f"{self.dialect}-game"

    @property
    def policies(self) -> Policies:
        return DIALECTS[self.dialect].policies

    def id(self, name: str) -> str:
        return str(uuid5(self.run, name))

    def word(self, outcome: str) -> Word:
        return self.OK if outcome == "ok" else self.WORDS[outcome]

    async def sit(self, player: Player, game: str | None = None) -> Seat:
        launched = await games.launch(
            self.served.casino.database, user_id=player.id, slug=game or self.game, currency=player.currency
        )
        return Seat(player, str(launched.session_id), launched.token)

    # What each protocol does in its own way.

    @classmethod
    def keys(cls, number: int) -> tuple[str, str]:
        """The key with which the provider signs, and the one that it gives us."""
        return f"{cls.dialect} signing key {number}", f"{cls.dialect} signing key {number}"

    def signature(self, body: bytes) -> dict[str, str]:
        key, _ = self.keys(self.key_number)
        return {"X-Request-Sign": hmac.new(key.encode(), body, "sha256").hexdigest()}

    def read(self, status: int, answer: Any) -> Outcome:
        raise NotImplementedError

    def request(self, what: str, seat: Seat, **more: Any) -> tuple[str, dict[str, Any]]:
        """The address and content of a call; keys: key, amount, round_id, close, bet, target, free."""
        raise NotImplementedError

    # The same for all.

    async def send(
        self, action: str, body: bytes, headers: Mapping[str, str], *, method: str = "POST", query: str = "",
    ) -> Outcome:  # fmt: skip
        url = f"/providers/{self.code}/{action}{'?' if query else ''}{query}"
        sent = Headers({"Content-Type": "application/json", **headers}, encoding="latin-1")
        answer = await self.served.http.request(method, url, content=body, headers=sent)
        assert answer.headers["content-type"] == "application/json"
        outcome = self.read(answer.status_code, answer.json())
        assert outcome.balance is None or outcome.balance >= 0
        return outcome

    async def post(self, action: str, content: Any) -> Outcome:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return await self.send(action, body, self.signature(body))

    async def ask(self, what: str, seat: Seat, **more: Any) -> Outcome:
        return await self.post(*self.request(what, seat, **more))

    async def bet(self, seat: Seat, key: str, amount: str, round_id: str = "r1", **more: Any) -> Outcome:
        return await self.ask("bet", seat, key=self.id(key), amount=amount, round_id=self.id(round_id), **more)

    async def win(
        self,
        seat: Seat,
        key: str,
        amount: str,
        round_id: str = "r1",
        *,
        bet: str = "b1",
        close: bool = True,
        **more: Any,
    ) -> Outcome:
        return await self.ask(
            "win",
            seat,
            key=self.id(key),
            amount=amount,
            round_id=self.id(round_id),
            bet=self.id(bet),
            close=close,
            **more,
        )

    async def reverse(self, seat: Seat, key: str, target: str, amount: str, round_id: str = "r1") -> Outcome:
        return await self.ask(
            "reverse", seat, key=self.id(key), target=self.id(target), amount=amount, round_id=self.id(round_id)
        )

    async def close(self, seat: Seat, round_id: str = "r1", bet: str = "b1") -> Outcome:
        """End a round that has won nothing."""
        return await self.win(seat, f"nothing in {round_id}", "0", round_id, bet=bet)

    async def balance(self, seat: Seat) -> Outcome:
        return await self.ask("balance", seat)


class SoftswissCaller(Caller):
    dialect = "softswiss-v2"
    WORDS: ClassVar = {
        "insufficient_funds": (400, "100"), "conflict": (400, "400"), "rolled_back": (400, "409"),
        "round_closed": (400, "400"), "player_blocked": (400, "110"), "session_ended": (400, "101"),
        "unknown_session": (400, "101"), "unknown_player": (400, "101"), "wrong_currency": (400, "154"),
        "unknown_game": (400, "405"), "bad_amount": (400, "400"), "malformed": (400, "400"), "too_large": (400, "400"),
        "bad_signature": (400, "403"), "not_reversible": (400, "400"), "foreign_round": (400, "400"),
        "unknown_action": (400, "404"), "balance_limit": (400, "400"), "retryable": (500, "504"),
    }  # fmt: skip

    def request(self, what: str, seat: Seat, **more: Any) -> tuple[str, dict[str, Any]]:
        content: dict[str, Any] = {
            "account_id": str(seat.player.id),
            "currency": more.get("currency", seat.player.currency),
        }
        game = more.get("game", self.game)
        if what == "balance":
            return "balance", {**content, "game_id": game}
        if what == "close":
            return "finish", {**content, "round_id": more["round_id"]}
        if what == "reverse":
            rollback = {"id_provider": more["key"], "original_id_provider": more["target"], "type": "rollback"}
            return "rollback", {
                **content,
                "game_id": game,
                "round_id_provider": more["round_id"],
                "transactions": [rollback],
            }
        content |= {
            "game_id": game,
            "session_id": more.get("session_id", seat.session_id),
            "round_id": more["round_id"],
        }
        transactions = more.get("several", [(what, more.get("key"), more.get("amount"))])
        content["transactions"] = [
            {"type": kind, "id_provider": key, "amount": amount} for kind, key, amount in transactions
        ]
        return "betwin", {**content, "finished": more.get("close", False)}

    async def close(self, seat: Seat, round_id: str = "r1", bet: str = "b1") -> Outcome:
        del bet
        return await self.ask("close", seat, round_id=self.id(round_id))

    def read(self, status: int, answer: Any) -> Outcome:
        if status == 200:
            ids = tuple(transaction["id"] for transaction in answer.get("transactions", []))
            return Outcome(self.OK, Decimal(answer["balance"]), ids, answer)
        assert answer["code"] == ("invalid_argument" if status == 400 else "internal")
        balance = answer["meta"].get("balance")
        return Outcome((status, answer["meta"]["api_code"]), None if balance is None else Decimal(balance), (), answer)


class SwipegamesCaller(Caller):
    dialect = "swipegames"
    WORDS: ClassVar = {
        "insufficient_funds": (400, "insufficient_funds"), "conflict": (400, ""), "rolled_back": (400, ""),
        "round_closed": (400, ""), "player_blocked": (400, "account_blocked"),
        "session_ended": (400, "session_expired"), "unknown_session": (404, "session_not_found"),
        "bad_amount": (400, ""), "malformed": (400, ""),
        "too_large": (400, ""), "bad_signature": (401, ""), "not_reversible": (400, ""), "foreign_round": (400, ""),
        "unknown_action": (404, ""), "balance_limit": (400, ""), "retryable": (500, ""),
    }  # fmt: skip

    def request(self, what: str, seat: Seat, **more: Any) -> tuple[str, dict[str, Any]]:
        content: dict[str, Any] = {"sessionID": more.get("session_id", seat.session_id)}
        if what == "balance":
            return "balance", content
        content |= {"txID": more["key"], "amount": more["amount"], "roundID": more["round_id"]}
        if what == "reverse":
            return "refund", {**content, "origTxID": more["target"]}
        award = {"frID": more["award"]} if "award" in more else {}
        return what, {**content, "type": "free" if more.get("free") else "regular", **award}

    async def post(self, action: str, content: Any) -> Outcome:
        if action == "balance" and not isinstance(content, bytes):
            signature = self.signature(rfc8785.dumps(content))
            return await self.send(action, b"", signature, method="GET", query=urlencode(content))
        body = content if isinstance(content, bytes) else rfc8785.dumps(content)
        return await self.send(action, body, self.signature(body))

    def read(self, status: int, answer: Any) -> Outcome:
        if status == 200:
            return Outcome(self.OK, Decimal(answer["balance"]), (answer["txID"],) if "txID" in answer else (), answer)
        assert isinstance(answer["message"], str)
        assert answer["message"]
        return Outcome((status, answer.get("code", "")), None, (), answer)


@cache
def _rsa_key(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


class Hub88Caller(Caller):
    dialect = "hub88"
    OK: ClassVar = (200, "RS_OK")
    WORDS: ClassVar = {
        name: (200, f"RS_ERROR_{status}")
        for name, status in {
            "insufficient_funds": "NOT_ENOUGH_MONEY", "conflict": "DUPLICATE_TRANSACTION",
            "rolled_back": "TRANSACTION_ROLLED_BACK", "round_closed": "DUPLICATE_TRANSACTION",
            "player_blocked": "USER_DISABLED", "session_ended": "TOKEN_EXPIRED", "unknown_session": "INVALID_TOKEN",
            "unknown_player": "INVALID_TOKEN", "wrong_currency": "WRONG_CURRENCY", "unknown_game": "INVALID_GAME",
            "bad_amount": "WRONG_TYPES", "malformed": "WRONG_SYNTAX", "too_large": "WRONG_SYNTAX",
            "bad_signature": "INVALID_SIGNATURE", "not_reversible": "TRANSACTION_DOES_NOT_EXIST",
            "foreign_round": "DUPLICATE_TRANSACTION", "unknown_action": "WRONG_SYNTAX", "balance_limit": "UNKNOWN",
            "bet_not_found": "TRANSACTION_DOES_NOT_EXIST", "second_reversal": "TRANSACTION_ROLLED_BACK",
            "retryable": "UNKNOWN",
        }.items()
    }  # fmt: skip

    @classmethod
    def keys(cls, number: int) -> tuple[str, str]:
        private = _rsa_key(number)
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return str(number), public.decode()

    def signature(self, body: bytes) -> dict[str, str]:
        signed = _rsa_key(self.key_number).sign(body, padding.PKCS1v15(), hashes.SHA256())
        return {"X-Hub88-Signature": base64.b64encode(signed).decode()}

    def request(self, what: str, seat: Seat, **more: Any) -> tuple[str, dict[str, Any]]:
        content = {"request_uuid": str(uuid4()), "token": more.get("session_id", seat.token)}
        if what == "balance":
            return "user/balance", {**content, "user": str(seat.player.id), "game_code": self.game}
        content |= {
            "transaction_uuid": more["key"],
            "round": more["round_id"],
            "game_code": more.get("game", self.game),
        }
        content["round_closed"] = more.get("close", False)
        if what == "reverse":
            return "transaction/rollback", {**content, "reference_transaction_uuid": more["target"]}
        scaled = Decimal(more["amount"]) * 100_000
        content |= {
            "user": str(seat.player.id), "currency": more.get("currency", seat.player.currency),
            "amount": int(scaled) if scaled == int(scaled) else float(scaled), "is_free": bool(more.get("free", False)),
            "supplier_user": "s-1", "bet": "zero", "meta": {"selection": "home_team"},
        }  # fmt: skip
        if "award" in more:
            content["reward_uuid"] = more["award"]
        if what == "win":
            content["reference_transaction_uuid"] = more["bet"]
        return f"transaction/{what}", content

    def read(self, status: int, answer: Any) -> Outcome:
        balance = None if "balance" not in answer else Decimal(answer["balance"]).scaleb(-5).quantize(Decimal("0.01"))
        return Outcome((status, answer["status"]), balance, (), answer)

    async def post(self, action: str, content: Any) -> Outcome:
        outcome = await super().post(action, content)
        if isinstance(content, dict):
            assert outcome.body["request_uuid"] == content["request_uuid"]
        return outcome


class GcpCaller(Caller):
    dialect = "gcp-v1"
    WORDS: ClassVar = {
        "insufficient_funds": (400, "100"), "conflict": (400, "400"), "round_closed": (400, "400"),
        "player_blocked": (400, "110"), "session_ended": (400, "101"), "unknown_session": (400, "101"),
        "unknown_player": (400, "101"), "wrong_currency": (400, "154"), "unknown_game": (400, "405"),
        "bad_amount": (400, "400"), "malformed": (400, "400"), "too_large": (400, "400"), "bad_signature": (403, "403"),
        "not_reversible": (400, "400"), "foreign_round": (400, "400"), "unknown_action": (404, "404"),
        "balance_limit": (400, "400"), "retryable": (500, "504"),
    }  # fmt: skip

    def signature(self, body: bytes) -> dict[str, str]:
        return {"Authorization": f"HMAC-SHA256 {super().signature(body)['X-Request-Sign']}"}

    def request(self, what: str, seat: Seat, **more: Any) -> tuple[str, dict[str, Any]]:
        content: dict[str, Any] = {
            "user_id": str(seat.player.id),
            "currency": more.get("currency", seat.player.currency),
        }
        content["game"] = more.get("game", f"somebody:{self.game}")
        if "session_id" in more:
            content["session_id"] = more["session_id"]
        if what == "balance":
            return "process", content
        if what == "free spins":
            issued = {"issue_id": more["key"], "status": more.get("status", "played")}
            return "freespins", {**content, **issued, "total_amount": self.cents(seat, more["amount"])}
        content |= {"game_id": more["round_id"], "finished": more.get("close", False)}
        if what == "reverse":
            action = {"action": "rollback", "action_id": more["key"], "original_action_id": more["target"]}
            return "rollback", {**content, "actions": [action]}
        several = more.get("several", [(what, more.get("key"), more.get("amount"))])
        content["actions"] = [
            {"action": kind, "action_id": key, "amount": self.cents(seat, amount)} for kind, key, amount in several
        ]
        return "process", content

    def cents(self, seat: Seat, amount: str) -> int | float:
        scaled = Decimal(amount) * (1 if seat.player.currency == "JPY" else 100)
        return int(scaled) if scaled == int(scaled) else float(scaled)

    def read(self, status: int, answer: Any) -> Outcome:
        if status == 200:
            ids = tuple(transaction["tx_id"] for transaction in answer.get("transactions", []))
            return Outcome(self.OK, Decimal(answer["balance"]).scaleb(-2), ids, answer)
        assert isinstance(answer["message"], str)
        return Outcome((status, str(answer["code"])), None, (), answer)


CALLERS: dict[str, type[Caller]] = {
    caller.dialect: caller for caller in (SoftswissCaller, SwipegamesCaller, Hub88Caller, GcpCaller)
}

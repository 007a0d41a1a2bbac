"""One round of a sandbox game, told to the casino in one of the ways that real providers do."""

import asyncio
import random
import uuid
from collections import deque
from decimal import Decimal
from typing import Final, Literal

import msgspec
import structlog

from countroom.demo.callbacks import Answer, Granted, NoAnswer, Route, StrangeAnswer, WalletClient
from countroom.demo.paytable import SandboxGame, play, win_of

Story = Literal[
    "plain", "win_apart", "finish_apart", "win_later", "bet_reversed", "reversed_unseen",
    "win_first", "win_late", "reversed_late",
]  # fmt: skip
"""How a round is told.

plain            bet and win in one call, which also closes the round
win_apart        the win in a call of its own
finish_apart     bet and win, then /finish
win_later        the bet only; the rest when somebody settles the round
bet_reversed     the bet, then two reversals of it under different ids: one may move money
reversed_unseen  the reversal arrives before its bet: the late bet must move nothing
win_first        the win arrives before its bet; when the bet is then refused, the win is taken back
win_late         the bet; the win some seconds later, whatever the player does meanwhile
reversed_late    the bet; its reversal some seconds later
"""

ALREADY_ROLLED_BACK: Final = "409"
OWED_MAX: Final = 10_000
OWED_PAUSE_MAX_SECONDS: Final = 5.0
LATE_SECONDS: Final = (0.5, 6.0)
"""How much later a late message is sent, at least and at most."""

log = structlog.get_logger("countroom.demo.provider")


class Seat(msgspec.Struct, frozen=True):
    """Who plays what: exactly what the casino gave at launch."""

    session_id: str
    account_id: str
    game_id: str
    currency: str


class Call(msgspec.Struct, frozen=True):
    """One callback as it went."""

    route: str
    http_status: int
    api_code: str
    milliseconds: float
    attempts: int


class Owed:
    """Calls whose outcome is unknown. They are repeated until the casino answers, as providers do."""

    def __init__(self, wallet: WalletClient) -> None:
        self._wallet = wallet
        self._calls: deque[tuple[Route, dict[str, object]]] = deque(maxlen=OWED_MAX)
        self._late = 0
        self._woken = asyncio.Event()

    def add(self, route: Route, body: dict[str, object]) -> None:
        """Promise to get this call through."""
        self._calls.append((route, body))
        self._woken.set()

    def add_later(self, seconds: float, route: Route, body: dict[str, object]) -> None:
        """Promise to begin with this call only after so many seconds."""
        self._late += 1
        asyncio.get_running_loop().call_later(seconds, self._due, route, body)

    def _due(self, route: Route, body: dict[str, object]) -> None:
        self._late -= 1
        self.add(route, body)

    def __len__(self) -> int:
        """Return how many calls are owed."""
        return len(self._calls) + self._late

    async def run(self) -> None:
        """Repeat what is owed, for ever; cancel to stop."""
        pause = OWED_PAUSE_MAX_SECONDS / 8
        while True:
            if not self._calls:
                self._woken.clear()
                await self._woken.wait()
            route, body = self._calls[0]
            try:
                answer = await self._wallet.call(route, body)
            except NoAnswer:
                await asyncio.sleep(pause)
                pause = min(pause * 2, OWED_PAUSE_MAX_SECONDS)
                continue
            except StrangeAnswer as strange:
                log.warning("owed_call_failed", route=route, trouble=str(strange))
            else:
                if answer.granted is None:
                    log.warning("owed_call_refused", route=route, api_code=answer.api_code)
            pause = OWED_PAUSE_MAX_SECONDS / 8
            self._calls.popleft()


class Round:
    """A round being told. What the casino answers otherwise than the protocol says is a surprise."""

    def __init__(
        self, wallet: WalletClient, owed: Owed, seat: Seat, game: SandboxGame, *, stake: Decimal, chance: random.Random
    ) -> None:
        self.id = uuid.uuid4().hex
        self.seat = seat
        self.stake = stake
        self.outcome = play(game, chance)
        self.win = win_of(stake, self.outcome.multiplier, seat.currency)
        self.reversed = False
        self.closed = False
        self.refused: Answer | None = None
        """The casino's "no" to the bet; then nothing of the round happened."""
        self.balance = ""
        self.calls: list[Call] = []
        self.surprises: list[str] = []
        self._wallet = wallet
        self._owed = owed
        self._chance = chance

    async def tell(self, story: Story, *, repeat: bool) -> None:
        """Tell the round. With ``repeat`` every call is sent twice, as after an answer that got lost.

        Raises:
            NoAnswer: the casino is away; the round is settled or undone once it is back.
            StrangeAnswer: the casino answered something that the protocol does not know.
        """
        if story == "reversed_unseen":
            await self._reverse_unseen(repeat=repeat)
            return
        if story == "win_first" and self.win:
            await self._win_before_bet(repeat=repeat)
            return
        together = story in {"plain", "finish_apart"}
        bet = self._transaction("bet", self.stake)
        win = [self._transaction("win", self.win)] if self.win and together else []
        finished = story in {"plain", "win_first"} or (story in {"win_apart", "win_late"} and not self.win)
        answer = await self._send("betwin", self._betwin([bet, *win], finished=finished), repeat=repeat)
        if answer.granted is None:
            self.refused = answer
            self.closed = True
            return
        if story == "bet_reversed":
            await self._reverse_twice(repeat=repeat)
        elif story == "win_apart" and self.win:
            await self._send_win(repeat=repeat)
        elif story == "finish_apart":
            await self._finish(repeat=repeat)
        elif story == "win_late" and self.win:
            self._later("betwin", self._betwin([self._transaction("win", self.win)], finished=True))
        elif story == "reversed_late":
            self.reversed = True
            self._later("rollback", self._rollback("1"))
        self.closed = story != "win_later"

    async def settle(self, *, repeat: bool) -> None:
        """Tell what is left of a round whose bet has been told.

        Raises:
            NoAnswer: the casino is away; the round is settled once it is back.
            StrangeAnswer: the casino answered something that the protocol does not know.
        """
        assert not self.closed
        self.closed = True
        if self.win:
            await self._send_win(repeat=repeat)
        else:
            await self._finish(repeat=repeat)

    async def _send_win(self, *, repeat: bool) -> None:
        body = self._betwin([self._transaction("win", self.win)], finished=True)
        self._expect_granted("win", await self._send("betwin", body, repeat=repeat))

    async def _finish(self, *, repeat: bool) -> None:
        body: dict[str, object] = {
            "account_id": self.seat.account_id,
            "currency": self.seat.currency,
            "round_id": self.id,
            "session_id": self.seat.session_id,
        }
        self._expect_granted("finish", await self._send("finish", body, repeat=repeat))

    async def _reverse_twice(self, *, repeat: bool) -> None:
        self.reversed = True
        first = await self._send("rollback", self._rollback("1"), repeat=repeat)
        self._expect_granted("reversal", first)
        if first.granted and not _own_id(first.granted):
            self.surprises.append("the reversal of a bet that was granted has an empty id")
        self._expect_granted("second reversal", await self._send("rollback", self._rollback("2"), repeat=repeat))

    async def _reverse_unseen(self, *, repeat: bool) -> None:
        self.reversed = self.closed = True
        answer = await self._send("rollback", self._rollback("1"), repeat=repeat)
        self._expect_granted("reversal of an unseen bet", answer)
        if answer.granted and _own_id(answer.granted):
            self.surprises.append("the reversal of an unseen bet has an id")
        late = await self._send(
            "betwin", self._betwin([self._transaction("bet", self.stake)], finished=True), repeat=repeat
        )
        if late.api_code != ALREADY_ROLLED_BACK:
            self.surprises.append(f"a bet after its reversal was answered {late.http_status} {late.api_code}".strip())

    async def _win_before_bet(self, *, repeat: bool) -> None:
        """The two overtook each other on their way. The casino hears of a win in a round that it does not know."""
        self.closed = True
        undo = self._rollback("win", of="win")
        try:
            win = self._betwin([self._transaction("win", self.win)], finished=False)
            self._expect_granted("win before its bet", await self._send("betwin", win, repeat=repeat))
            bet = self._betwin([self._transaction("bet", self.stake)], finished=False)
            answer = await self._send("betwin", bet, repeat=repeat)
        except NoAnswer:
            self._owed.add("rollback", undo)
            raise
        if answer.granted is None:
            self.refused = answer
            self._expect_granted("reversal of the win", await self._send("rollback", undo, repeat=repeat))
            return
        await self._finish(repeat=repeat)

    def _later(self, route: Route, body: dict[str, object]) -> None:
        self._owed.add_later(self._chance.uniform(*LATE_SECONDS), route, body)

    def _transaction(self, kind: Literal["bet", "win"], amount: Decimal) -> dict[str, object]:
        return {"id_provider": f"{self.id}-{kind}", "type": kind, "amount": str(amount)}

    def _betwin(self, transactions: list[dict[str, object]], *, finished: bool) -> dict[str, object]:
        seat = msgspec.to_builtins(self.seat)
        return {**seat, "round_id": self.id, "finished": finished, "transactions": transactions}

    def _rollback(self, number: str, *, of: Literal["bet", "win"] = "bet") -> dict[str, object]:
        reversal = {
            "id_provider": f"{self.id}-rollback-{number}",
            "type": "rollback",
            "original_id_provider": f"{self.id}-{of}",
        }
        seat = msgspec.to_builtins(self.seat)
        return {**seat, "round_id_provider": self.id, "finished": True, "transactions": [reversal]}

    async def _send(self, route: Route, body: dict[str, object], *, repeat: bool) -> Answer:
        try:
            answer = await self._once(route, body)
            if repeat:
                self._compare(route, answer, await self._once(route, body))
        except NoAnswer:
            self._owe(route, body)
            raise
        return answer

    async def _once(self, route: Route, body: dict[str, object]) -> Answer:
        answer = await self._wallet.call(route, body)
        self.calls.append(
            Call(route, answer.http_status, answer.api_code, round(answer.milliseconds, 3), answer.attempts)
        )
        if answer.granted:
            self.balance = answer.granted.balance
            asked = [transaction["id_provider"] for transaction in _transactions(body)]
            told = [moved.id_provider for moved in answer.granted.transactions]
            if asked != told:
                self.surprises.append(f"{route}: asked about {asked}, answered about {told}")
        return answer

    def _owe(self, route: Route, body: dict[str, object]) -> None:
        """A bet alone is taken back, since the player saw no round; anything else is told until it is heard."""
        if route == "betwin" and [transaction["type"] for transaction in _transactions(body)] == ["bet"]:
            self._owed.add("rollback", self._rollback("1"))
        else:
            self._owed.add(route, body)

    def _compare(self, route: Route, first: Answer, second: Answer) -> None:
        same = (first.granted, first.api_code) == (second.granted, second.api_code)
        if not same:
            self.surprises.append(f"{route}: a repeat was answered {second.granted or second.api_code}, "
                                  f"at first it was {first.granted or first.api_code}")  # fmt: skip

    def _expect_granted(self, what: str, answer: Answer) -> None:
        if answer.granted is None:
            self.surprises.append(f"{what} was refused: {answer.api_code} {answer.message}")


def _own_id(granted: Granted) -> str:
    return granted.transactions[0].id if granted.transactions else ""


def _transactions(body: dict[str, object]) -> list[dict[str, str]]:
    return msgspec.convert(body.get("transactions", []), list[dict[str, str]])

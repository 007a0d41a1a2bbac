"""One bot: a player who signs in, pays in, plays, and compares every balance with its own sums."""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Coroutine, Iterator
from decimal import Decimal
from typing import Final, Literal

from countroom.demo.casino import Away, Casino, Conflict, Launch, Limited, Session, SignedOut, Unexpected
from countroom.demo.paytable import unit
from countroom.demo.pool import Account, Pool
from countroom.demo.provider import INSUFFICIENT_FUNDS, Played
from countroom.demo.rounds import Story
from countroom.demo.tally import Tally

Card = Literal[
    "plain", "win_apart", "finish_apart", "win_later", "bet_reversed", "reversed_unseen",
    "sign_out", "too_much", "declined", "statement", "other_game",
]  # fmt: skip

DECK: Final[tuple[tuple[Card, bool, int], ...]] = (
    # (what to do, every call twice, how many in a deck). A deck is shuffled and dealt to all bots,
    # so that a short simulation meets everything too.
    ("plain", False, 39), ("plain", True, 8),
    ("win_apart", False, 13), ("win_apart", True, 2),
    ("finish_apart", False, 10), ("finish_apart", True, 2),
    ("bet_reversed", False, 5), ("bet_reversed", True, 1),
    ("reversed_unseen", False, 3), ("reversed_unseen", True, 1),
    ("win_later", False, 2), ("sign_out", False, 2), ("too_much", False, 2), ("declined", False, 1),
    ("statement", False, 4), ("other_game", False, 5),
)  # fmt: skip

SCALE: Final = {"JPY": 100, "KRW": 1000, "HUF": 400, "ISK": 150, "SEK": 10, "NOK": 10, "CZK": 25, "INR": 90}
"""Roughly how much of a currency feels like one euro; others count as one."""
STAKES: Final = (Decimal("0.20"), Decimal("0.50"), Decimal(1), Decimal(2), Decimal(5))
DEPOSITS: Final = (20, 50, 100, 200)
DEPOSIT_SECONDS: Final = 60.0
"""A settled payment must be in the wallet by then."""
SESSION_ENDED: Final = "101"
"""What the wallet says to a bet of a session that is over."""
DOUBT_SECONDS: Final = 120.0
"""After trouble, rounds may still be settled or undone behind the bot's back; it compares nothing so long."""
BACKOFF_MAX_SECONDS: Final = 10.0


class Dealer:
    """Deals shuffled decks, for ever."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._deck = self._deal()

    def next(self) -> tuple[Card, bool]:
        """Return the next card: what to do, and whether every call is sent twice."""
        return next(self._deck)

    def _deal(self) -> Iterator[tuple[Card, bool]]:
        while True:
            deck: list[tuple[Card, bool]] = [(card, twice) for card, twice, number in DECK for _ in range(number)]
            self._chance.shuffle(deck)
            yield from deck


class Bot:
    """A player. It does one thing at a time, so it always knows what its balance should be."""

    def __init__(
        self, casino: Casino, pool: Pool, account: Account, *, tally: Tally, dealer: Dealer, chance: random.Random
    ) -> None:
        self._casino = casino
        self._pool = pool
        self._account = account
        self._tally = tally
        self._dealer = dealer
        self._chance = chance
        self._session: Session | None = None
        self._launch: Launch | None = None
        self._balance: Decimal | None = None
        """What this bot is sure to have; None when the casino has to be asked."""
        self._doubt_until = time.monotonic() + (10.0 if account.registered else 0.0)
        self._backoff = 0.5

    async def prepare(self) -> None:
        """Have an account, a session, money and a game."""
        if not self._account.registered:
            await self._register()
        session = await self._signed_in()
        if self._balance is None:
            self._balance = (await self._casino.wallets(session)).playable(self._account.currency)
        if self._launch is None:
            games = (await self._casino.games(session)).games
            slugs = [game.slug for game in games if game.provider == "sandbox"] or [game.slug for game in games]
            if not slugs:
                raise Unexpected("GET /api/v1/games: there is no game to play")
            self._launch = await self._casino.launch(session, self._chance.choice(slugs), self._account.currency)

    async def arrive(self) -> float:
        """Get ready to play; return how many seconds to wait before trying again, 0 when ready."""
        return await self._attempt(self.prepare())

    async def act(self) -> float:
        """Do the next thing, whatever comes of it; return how many seconds to stay away afterwards."""
        return await self._attempt(self._play(*self._dealer.next()))

    async def _attempt(self, doing: Coroutine[object, object, None]) -> float:
        try:
            await doing
        except SignedOut:
            self._session = None  # ordinary: the session ended, or was lost with Redis
            return self._wait()
        except Limited as limited:
            return limited.retry_after_seconds
        except Away:
            self._tally.count("unavailable")
            self._doubt()
            return self._wait()
        except (Unexpected, Conflict) as finding:
            self._tally.error(f"{self._account.email}: {finding}")
            self._doubt()
            return self._wait()
        self._backoff = 0.5
        return 0.0

    async def _play(self, card: Card, twice: bool) -> None:  # noqa: FBT001 - as dealt
        await self.prepare()
        assert self._session
        match card:
            case "statement":
                await self._read_statement(self._session)
            case "other_game":
                self._launch = None
                await self.prepare()
            case "declined":
                await self._pay_in(self._session, "decline")
            case "too_much":
                await self._stake_too_much()
            case "sign_out":
                await self._win_after_sign_out()
            case _:
                played = await self._round(card, repeat=twice)
                if not played.closed:
                    await self._settle(played)

    async def _register(self) -> None:
        account = self._account
        # Taken already: the answer had been lost. Then the password fits, and signing in will tell.
        with contextlib.suppress(Conflict):
            await self._casino.register(
                email=account.email,
                password=account.password,
                country=account.country,
                birth_date=account.birth_date,
                currency=account.currency,
            )
        account.registered = True
        self._pool.keep()

    async def _signed_in(self) -> Session:
        if self._session is None:
            try:
                self._session = await self._casino.sign_in(email=self._account.email, password=self._account.password)
            except SignedOut:
                # Remembered from another database: this casino does not know the account.
                self._account = self._pool.replace(self._account, self._chance)
                self._launch = self._balance = None
                raise
        return self._session

    async def _stake(self) -> Decimal:
        """Choose a stake, and pay in first when the wallet does not hold it."""
        assert self._session
        assert self._balance is not None
        currency = self._account.currency
        stake = (self._chance.choice(STAKES) * SCALE.get(currency, 1)).quantize(unit(currency))
        if self._balance < stake:
            await self._pay_in(self._session, "approve")
        return stake

    async def _pay_in(self, session: Session, decision: Literal["approve", "decline"]) -> None:
        currency = self._account.currency
        amount = Decimal(self._chance.choice(DEPOSITS) * SCALE.get(currency, 1)).quantize(unit(currency))
        deposit = await self._casino.deposit(session, amount=amount, currency=currency, key=uuid.uuid4().hex)
        await self._casino.decide_payment(deposit, decision)
        if decision == "decline":
            self._tally.count("refusals")
            return
        assert self._balance is not None
        self._tally.count("deposits")
        expected = self._balance + amount
        self._balance = None  # until the money is seen
        deadline = time.monotonic() + DEPOSIT_SECONDS
        pause = 0.02
        while time.monotonic() < deadline:
            held = (await self._casino.wallets(session)).playable(currency)
            if held >= expected or (held != expected - amount and self._in_doubt()):
                self._compare("a deposit", expected, held)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.6, 1.0)
        raise Unexpected(f"a payment of {amount} {currency} that was approved is not in the wallet")

    async def _round(self, story: Story, *, repeat: bool = False) -> Played:
        assert self._launch
        stake = await self._stake()
        before = self._balance
        self._balance = None  # unknown until the round has been told
        played = await self._casino.spin(
            self._launch, currency=self._account.currency, stake=stake, story=story, repeat=repeat
        )
        self._heard(played, new=0)
        self._tally.count("rounds")
        self._tally.count("retries", sum(1 for _ in played.calls) // 2 if repeat else 0)
        if played.refused and played.refused.api_code == SESSION_ENDED:
            # Ordinary: by time, or because somebody with this account launched the game again. So do we.
            self._launch = None
            self._tally.count("refusals")
            return played
        if played.refused:
            if played.refused.api_code != INSUFFICIENT_FUNDS or not self._in_doubt():
                self._tally.error(f"{self._account.email}: a bet of {stake} with {before} in the wallet was refused: "
                                  f"{played.refused.api_code} {played.refused.message}")  # fmt: skip
            return played
        if played.reversed:
            self._tally.count("reversals")
            self._tally.count("refusals", 1 if story == "reversed_unseen" else 0)
        else:
            self._tally.stake(self._account.currency, stake)
        assert before is not None
        self._sum_up(story, played, before - (0 if played.reversed else stake))
        return played

    async def _settle(self, played: Played) -> Played:
        assert self._launch
        assert self._balance is not None
        before = self._balance
        self._balance = None
        settled = await self._casino.settle(self._launch, played.round_id)
        self._heard(settled, new=len(played.calls))
        self._sum_up("the rest of a round", settled, before)
        return settled

    async def _win_after_sign_out(self) -> None:
        played = await self._round("win_later")
        if played.closed:
            return
        assert self._session
        await self._casino.sign_out(self._session)
        self._session = None
        self._tally.count("sign_outs")
        settled = await self._settle(played)
        if Decimal(settled.win):
            self._tally.count("wins_after_sign_out")
        session = await self._signed_in()
        held = (await self._casino.wallets(session)).playable(self._account.currency)
        self._compare("the wallet after signing in again", self._balance, held)

    async def _stake_too_much(self) -> None:
        assert self._launch
        assert self._balance is not None
        currency = self._account.currency
        before = self._balance
        stake = before + unit(currency)
        played = await self._casino.spin(self._launch, currency=currency, stake=stake, story="plain", repeat=False)
        self._heard(played, new=0)
        if played.refused and played.refused.api_code == INSUFFICIENT_FUNDS:
            self._tally.count("refusals")
        elif not self._in_doubt():
            self._tally.error(f"{self._account.email}: a bet of {stake} {currency} with {before} in the wallet was "
                              f"answered {played.refused or 'with a round'}")  # fmt: skip
        if not played.refused:
            self._balance = None

    async def _read_statement(self, session: Session) -> None:
        held = (await self._casino.wallets(session)).playable(self._account.currency)
        self._compare("the wallet", self._balance, held)
        for line in (await self._casino.statement(session)).transactions:
            Decimal(line.amount)

    def _sum_up(self, what: str, played: Played, staked: Decimal) -> None:
        """Compare the balance that the casino told with what it was, less the stake, plus the win."""
        win = Decimal(played.win)
        if win:
            self._tally.win(self._account.currency, win)
        self._compare(f"{what} ({played.round_id})", staked + win, Decimal(played.balance or "0"))

    def _compare(self, what: str, expected: Decimal | None, told: Decimal) -> None:
        if expected is not None and expected != told and not self._in_doubt():
            self._tally.error(f"{self._account.email}: after {what} there should be {expected} "
                              f"{self._account.currency}, there are {told}")  # fmt: skip
        self._balance = told

    def _heard(self, played: Played, *, new: int) -> None:
        for call in played.calls[new:]:
            self._tally.answered(call.milliseconds)
        for surprise in played.surprises:
            self._tally.error(f"round {played.round_id}: {surprise}")

    def _in_doubt(self) -> bool:
        return time.monotonic() < self._doubt_until

    def _doubt(self) -> None:
        self._doubt_until = time.monotonic() + DOUBT_SECONDS
        self._balance = None

    def _wait(self) -> float:
        wait = self._backoff * self._chance.uniform(0.5, 1.0)
        self._backoff = min(self._backoff * 2, BACKOFF_MAX_SECONDS)
        return wait

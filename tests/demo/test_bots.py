"""What a bot notices, at a casino made of a few lines."""
# ruff: noqa: ARG002 - a stand-in has the arguments of what it stands in for

import json
import random
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from countroom.demo.casino import Casino, Conflict, Game, Games, Launch, Session, Wallet, Wallets
from countroom.demo.player import DECK, Bot, Card, Dealer
from countroom.demo.pool import Pool, borrowed
from countroom.demo.provider import Played
from countroom.demo.tally import Tally


class SmallCasino(Casino):
    """Holds one balance, and errs by as much as it is told to."""

    def __init__(self) -> None:
        super().__init__("http://nowhere", httpx.AsyncClient())
        self.money = Decimal("100.00")
        self.errs_by = Decimal(0)
        self.registered: set[str] = set()

    async def register(self, *, email: str, password: str, country: str, birth_date: str, currency: str) -> None:
        if email in self.registered:
            raise Conflict
        self.registered.add(email)

    async def sign_in(self, *, email: str, password: str) -> Session:
        return Session("token")

    async def wallets(self, session: Session) -> Wallets:
        return Wallets([Wallet("EUR", "main", str(self.money)), Wallet("EUR", "locked", "7.00")])

    async def games(self, session: Session) -> Games:
        return Games([Game("rocket-run", "sandbox")])

    async def launch(self, session: Session, slug: str, currency: str) -> Launch:
        return Launch("s", "t", "a", slug, "http://provider/launch?x=y")

    async def spin(self, launch: Launch, *, currency: str, stake: Decimal, story: str, repeat: bool) -> Played:
        self.money += stake * 2 - stake + self.errs_by
        return Played(
            round_id="r", game_id=launch.game_id, currency=currency, stake=str(stake), multiplier="2",
            win=str(stake * 2), symbols=[], balance=str(self.money), reversed=False, closed=True, refused=None,
            calls=[], surprises=[],
        )  # fmt: skip


class Plain(Dealer):
    def next(self) -> tuple[Card, bool]:
        return "plain", False


def bot_at(casino: Casino, pool: Pool, tally: Tally) -> Bot:
    chance = random.Random(5)  # noqa: S311 - a fixed seed
    (account,) = pool.take(1, ["EUR"], chance)
    return Bot(casino, pool, account, tally=tally, dealer=Plain(chance), chance=chance)


async def test_a_bot_that_is_told_a_cent_too_little_says_so(tmp_path: Path) -> None:
    casino, tally = SmallCasino(), Tally()
    with borrowed(tmp_path) as pool:
        bot = bot_at(casino, pool, tally)
        assert await bot.act() == 0
        assert tally.findings == []
        casino.errs_by = Decimal("-0.01")
        await bot.act()

    assert tally.counts["errors"] == 1
    assert "there should be" in tally.findings[0]
    assert not tally.summary(players=1, seconds=1).ok


async def test_accounts_are_remembered_and_two_simulations_do_not_share_them(tmp_path: Path) -> None:
    with borrowed(tmp_path) as pool:
        await bot_at(SmallCasino(), pool, Tally()).arrive()
        with borrowed(tmp_path) as beside:
            await bot_at(SmallCasino(), beside, Tally()).arrive()
    (first,), (second,) = (json.loads((tmp_path / name).read_text()) for name in ("bots.json", "bots-2.json"))
    with borrowed(tmp_path) as pool:
        (again,) = pool.take(1, ["EUR"], random.Random())  # noqa: S311 - no secret

    assert again.email == first["email"] != second["email"]


@pytest.mark.parametrize("seed", [1, 2])
def test_each_deck_holds_everything(seed: int) -> None:
    dealer = Dealer(random.Random(seed))  # noqa: S311 - a fixed seed
    size = sum(number for _, _, number in DECK)
    dealt = [dealer.next() for _ in range(size)]

    assert size == 100
    assert {card for card, _ in dealt} == {card for card, _, _ in DECK}

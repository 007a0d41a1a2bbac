"""The sandbox game provider: games in a page of its own, played through the casino's wallet.

Its interface is described in docs/sandbox.md. It believes whoever names an account, because it is
a sandbox that listens on this machine only; the casino believes nobody but its signature.
"""

import random
import secrets
from collections import OrderedDict
from collections.abc import Awaitable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from countroom.demo import chaos, slot
from countroom.demo.callbacks import NoAnswer, StrangeAnswer, WalletClient
from countroom.demo.http import Application, Request, Response, Shape, Wrong, decode_json, json, page
from countroom.demo.ledger import Ledger
from countroom.demo.paytable import BY_SLUG, CHANCES, GAMES, PAYTABLES, SandboxGame, return_to_player, unit
from countroom.demo.rounds import Call, Owed, Round, Seat, Story

OPEN_ROUNDS_MAX: Final = 10_000
"""Rounds that wait to be settled; the oldest is left unfinished beyond that."""
STAKE_MAX: Final = Decimal(1_000_000)
STAKES: Final = {"JPY": ("20", "50", "100", "500"), "SEK": ("2.00", "5.00", "10.00", "50.00")}
STAKES_ELSEWHERE: Final = ("0.20", "0.50", "1.00", "5.00")
INSUFFICIENT_FUNDS: Final = "100"


class Spin(msgspec.Struct):
    """What the page, or a bot, sends to play one round."""

    session_id: str
    account_id: str
    game_id: str
    currency: str
    stake: str | None = None
    """A decimal string in the main unit; without it the game's second smallest."""
    story: Story = "plain"
    repeat: bool = False
    fun: bool = False
    """For play money: the casino hears nothing of it, and the page keeps the balance."""
    chaos: list[str] = []
    """How to misbehave (chaos.py); the story is then chosen by chance."""


class Settle(msgspec.Struct):
    """How to tell the rest of a round."""

    repeat: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The casino's "no" to a bet."""

    api_code: str
    message: str


class Played(msgspec.Struct, frozen=True):
    """A round as the player sees it. Amounts are decimal strings in the main unit."""

    round_id: str
    game_id: str
    currency: str
    stake: str
    multiplier: str
    win: str
    """What the round won; "0" also when the bet was refused or taken back."""
    symbols: list[str]
    """What is shown; of a slot the middle row."""
    balance: str
    """As the casino last told it; empty when it told none."""
    reversed: bool
    closed: bool
    refused: Refused | None
    calls: list[Call]
    surprises: list[str]
    """Answers of the casino that the protocol does not allow."""
    story: str = ""
    """How it was told."""
    window: list[list[str]] = []
    """Of a slot: what each reel shows, from top to bottom."""
    lines: list[slot.LineWin] = []
    """Of a slot: the lines that paid."""


class Provider:
    """The service behind the routes."""

    def __init__(self, wallet: WalletClient, owed: Owed, *, chance: random.Random | None = None) -> None:
        """Take the casino's wallet (with our ledger), the calls owed to it, and where outcomes are drawn from."""
        self._wallet = wallet
        self._owed = owed
        self._chance = chance or random.SystemRandom()
        self._open: OrderedDict[str, Round] = OrderedDict()

    def application(self) -> Application:
        """Return the ASGI application."""
        return Application(
            [
                ("GET", "/launch", self.launch),
                ("POST", "/spin", self.spin),
                ("POST", "/rounds/{round_id}/settle", self.settle),
                ("POST", "/balance", self.balance),
                ("GET", "/games", self.games),
                ("GET", "/games/{slug}", self.game),
                ("GET", "/reports/{day}", self.report),
                ("GET", "/health/live", self.live),
            ]
        )

    async def launch(self, request: Request) -> Response:
        """Show the game that a casino's launch address names."""
        fun = request.query.get("mode") == "fun"
        needed = ("game", "currency") if fun else ("session_id", "game", "account", "currency")
        missing = [name for name in needed if not request.query.get(name)]
        if missing:
            raise Wrong(400, "launch_incomplete", f"The launch address lacks {', '.join(missing)}.")
        game = _known(request.query["game"])
        currency = request.query["currency"]
        try:
            kinds = chaos.parse(request.query.get("chaos", "").split(","))
        except chaos.UnknownMisbehaviour as unknown:
            raise Wrong(400, "unknown_chaos", str(unknown)) from unknown
        values = {
            "chaos": " ".join(kinds),
            "fun": "fun" if fun else "",
            "title": game.title,
            "genre": game.genre,
            "volatility": game.volatility,
            "rtp": f"{float(return_to_player(game)):.0%}",
            "symbols": " ".join(game.symbols),
            "session_id": request.query.get("session_id", ""),
            "account_id": request.query.get("account", ""),
            "game_id": game.slug,
            "currency": currency,
            "stakes": " ".join(_stakes(currency)),
        }
        if game.genre != "slots":
            return page("game.html", values, nonce=secrets.token_urlsafe(16))
        odds = msgspec.json.encode(_described(game)).decode()
        return page("slot.html", {**values, "slug": game.slug, "odds": odds}, nonce=secrets.token_urlsafe(16))

    async def spin(self, request: Request) -> Response:
        """Play one round."""
        wanted = _json_body(request, Spin)
        game = _known(wanted.game_id)
        stake = _stake(wanted)
        seat = Seat(wanted.session_id, wanted.account_id, wanted.game_id, wanted.currency)
        try:
            kinds = chaos.parse(wanted.chaos)
        except chaos.UnknownMisbehaviour as unknown:
            raise Wrong(400, "unknown_chaos", str(unknown)) from unknown
        if wanted.fun:
            free = Round(self._wallet, self._owed, seat, game, stake=stake, chance=self._chance)
            free.closed = True
            return json(self._played(free, game, "plain"))
        line = chaos.BadLine(self._wallet, kinds, self._chance) if kinds else None
        story = chaos.story(kinds, self._chance) if kinds else wanted.story
        told = Round(line or self._wallet, self._owed, seat, game, stake=stake, chance=self._chance)
        await _heard(told.tell(story, repeat=wanted.repeat))
        if line:
            told.surprises += line.surprises
        if not told.closed:
            self._open[told.id] = told
            if len(self._open) > OPEN_ROUNDS_MAX:
                self._open.popitem(last=False)
        return json(self._played(told, game, story))

    async def settle(self, request: Request, *, round_id: str) -> Response:
        """Tell the rest of a round that was started with ``win_later``."""
        wanted = _json_body(request, Settle)
        told = self._open.pop(round_id, None)
        if told is None:
            raise Wrong(404, "round_unknown", "No such round waits to be settled.")
        await _heard(told.settle(repeat=wanted.repeat))
        return json(self._played(told, _known(told.seat.game_id), "win_later"))

    async def balance(self, request: Request) -> Response:
        """Ask the casino for a player's balance."""
        seat = _json_body(request, Seat)
        try:
            answer = await self._wallet.call("balance", msgspec.to_builtins(seat))
        except (NoAnswer, StrangeAnswer) as error:
            raise Wrong(502, "no_answer", str(error)) from error
        if answer.granted is None:
            return json({"balance": None, "refused": Refused(answer.api_code, answer.message)})
        return json({"balance": answer.granted.balance, "refused": None})

    async def games(self, request: Request) -> Response:  # noqa: ARG002 - routes are alike
        """List the games with what they pay."""
        return json({"games": [_described(game) for game in GAMES]})

    async def game(self, request: Request, *, slug: str) -> Response:  # noqa: ARG002 - routes are alike
        """Publish one game's paytable."""
        return json(_described(_known(slug)))

    async def report(self, request: Request, *, day: str) -> Response:  # noqa: ARG002 - routes are alike
        """Give the daily report: what was told on a day (UTC), as CSV."""
        try:
            wanted = date.fromisoformat(day)
        except ValueError as error:
            raise Wrong(404, "no_such_day", "A report is of one day: /reports/2026-03-01.") from error
        ledger = self._wallet.ledger or Ledger.in_memory()
        headers = {
            "content-type": "text/csv; charset=utf-8",
            "content-disposition": f'attachment; filename="sandbox-{wanted}.csv"',
        }
        return Response(200, headers=headers, pieces=ledger.report(wanted))

    async def live(self, request: Request) -> Response:  # noqa: ARG002 - routes are alike
        """Tell that the service runs, and what it still owes the casino."""
        return json({"status": "live", "owed_calls": len(self._owed), "open_rounds": len(self._open)})

    def _played(self, told: Round, game: SandboxGame, story: Story) -> Played:
        nothing = told.reversed or told.refused is not None
        hidden = nothing or not told.closed
        reels = None if hidden else told.outcome.reels
        return Played(
            round_id=told.id,
            game_id=game.slug,
            currency=told.seat.currency,
            stake=str(told.stake),
            multiplier="0" if hidden else str(told.outcome.multiplier),
            win="0" if hidden else str(told.win),
            symbols=[] if hidden else _symbols(game, told, self._chance),
            balance=told.balance,
            reversed=told.reversed,
            closed=told.closed,
            refused=None if told.refused is None else Refused(told.refused.api_code, told.refused.message),
            calls=told.calls,
            surprises=told.surprises,
            story=story,
            window=[list(column) for column in reels.window] if reels else [],
            lines=list(reels.lines) if reels else [],
        )


async def _heard(telling: Awaitable[None]) -> None:
    try:
        await telling
    except NoAnswer as silence:
        sentence = f"The casino does not answer ({silence.trouble}); the round is settled once it does."
        raise Wrong(503, "no_answer", sentence) from silence
    except StrangeAnswer as strange:
        raise Wrong(502, "strange_answer", str(strange)) from strange


def _json_body(request: Request, shape: type[Shape]) -> Shape:
    # A page of another origin can post a form or plain text without asking; JSON it cannot.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Wrong(415, "not_json", "Send application/json.")
    return decode_json(request.body, shape)


def _known(slug: str) -> SandboxGame:
    game = BY_SLUG.get(slug)
    if game is None:
        raise Wrong(404, "game_unknown", "This provider has no such game.")
    return game


def _stakes(currency: str) -> tuple[str, ...]:
    return STAKES.get(currency, STAKES_ELSEWHERE)


def _stake(wanted: Spin) -> Decimal:
    if wanted.stake is None:
        return Decimal(_stakes(wanted.currency)[1])
    try:
        stake = Decimal(wanted.stake) if wanted.stake.replace(".", "", 1).isdecimal() else Decimal(0)
        exact = stake.quantize(unit(wanted.currency)) == stake
    except InvalidOperation:
        exact = False
        stake = Decimal(0)
    if not exact or not 0 < stake <= STAKE_MAX:
        raise Wrong(400, "invalid_stake", "stake is a positive decimal string that fits the currency.")
    return stake


def _described(game: SandboxGame) -> dict[str, object]:
    told = {
        "game_id": game.slug,
        "title": game.title,
        "genre": game.genre,
        "volatility": game.volatility,
        "return_to_player": str(float(return_to_player(game))),
    }
    if game.genre == "slots":
        return {**told, "chances_in": slot.STOPS, **slot.described(game.volatility)}
    pays = [{"multiplier": str(multiplier), "chances": weight} for multiplier, weight in PAYTABLES[game.volatility]]
    return {**told, "chances_in": CHANCES, "pays": pays}


def _symbols(game: SandboxGame, told: Round, chance: random.Random) -> list[str]:
    """Return what is shown: of a slot its middle row; elsewhere three of a kind for a win, and never for a loss."""
    outcome = told.outcome
    if outcome.reels:
        return [column[1] for column in outcome.reels.window]
    symbols = list(game.symbols)
    if not outcome.multiplier:
        return chance.sample(symbols, 3)
    tiers = [multiplier for multiplier, _ in PAYTABLES[game.volatility]]
    return [symbols[tiers.index(outcome.multiplier) * len(symbols) // len(tiers)]] * 3

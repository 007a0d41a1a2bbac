"""Everything that a bad line and a careless provider do to a wallet, at once and on demand.

For demonstrations (`?chaos=…` at the end of a game's address) and for tests. Whatever is done here, the provider's own
ledger and the casino's must agree to the cent once nothing is owed any more.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterable
from typing import Final, Literal, get_args

import httpx

from countroom.demo.callbacks import Answer, NoAnswer, Route, WalletClient
from countroom.demo.rounds import Story

Misbehaviour = Literal["retries", "timeouts", "double", "late", "reversed"]
"""What goes wrong.

retries   answers get lost, and the same bytes are sent again
timeouts  the provider waits only some milliseconds, and then retries, or gives up and takes the bet back
double    a message arrives twice at the same time; a bet is reversed twice, under two ids
late      wins and reversals arrive seconds later, between those of other rounds
reversed  a reversal arrives before its bet, a win before its bet
"""

MISBEHAVIOURS: Final[tuple[Misbehaviour, ...]] = get_args(Misbehaviour)
ALL: Final = "all"
PATIENCE_SECONDS: Final = (0.0005, 0.02)
"""How long an impatient provider waits, at least and at most: some calls are answered in that time, some are not."""
SHARE: Final = 0.3
"""Of the calls that one misbehaviour falls upon."""

_STORIES: Final[dict[Misbehaviour, tuple[Story, ...]]] = {
    "double": ("bet_reversed",),
    "late": ("win_late", "win_late", "reversed_late"),
    "reversed": ("reversed_unseen", "win_first", "win_first"),
}
_ORDERLY: Final[tuple[Story, ...]] = ("plain", "win_apart", "finish_apart")


class UnknownMisbehaviour(Exception):  # noqa: N818 - becomes an answer
    """Nobody misbehaves like that; the message lists what there is."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no chaos {name!r}; there is {', '.join((*MISBEHAVIOURS, ALL))}.")


def parse(names: Iterable[str]) -> tuple[Misbehaviour, ...]:
    """Read names of misbehaviours; ``all`` is every one.

    Raises:
        UnknownMisbehaviour: one of them is not known.
    """
    wanted = {name.strip().lower() for name in names} - {""}
    if ALL in wanted:
        return MISBEHAVIOURS
    for name in sorted(wanted - set(MISBEHAVIOURS)):
        raise UnknownMisbehaviour(name)
    return tuple(one for one in MISBEHAVIOURS if one in wanted)


def story(kinds: Iterable[Misbehaviour], chance: random.Random) -> Story:
    """Choose how a round is told: in order, or in one of the ways of these misbehaviours."""
    return chance.choice([*_ORDERLY, *(one for kind in kinds for one in _STORIES.get(kind, ()))])


class BadLine(WalletClient):
    """A wallet at the end of a bad line."""

    def __init__(self, wallet: WalletClient, kinds: Iterable[Misbehaviour], chance: random.Random) -> None:
        """Misbehave towards the same casino in these ways."""
        super().__init__(wallet.base_url, wallet.key, wallet.http, wallet.ledger)
        self.surprises: list[str] = []
        """What the casino answered to a repeat otherwise than at first."""
        self._kinds = frozenset(kinds)
        self._chance = chance

    async def _tell(self, route: Route, raw: bytes) -> Answer:
        if self._strikes("timeouts"):
            with contextlib.suppress(httpx.HTTPError):
                await self._post(route, raw, self._chance.uniform(*PATIENCE_SECONDS))
            # An answer that came in time is lost all the same; what the casino has done nobody here knows.
            if route != "balance" and self._chance.random() < SHARE:
                raise NoAnswer(f"{route}: gave up at once")
        if self._strikes("double"):
            answer = self._same(route, *await asyncio.gather(super()._tell(route, raw), super()._tell(route, raw)))
        else:
            answer = await super()._tell(route, raw)
        if self._strikes("retries"):
            again = await super()._tell(route, raw)
            if answer.granted and not again.granted:
                self.surprises.append(f"{route}: a repeat was refused ({again.api_code}), at first it was granted")
            answer = self._same(route, answer, again)
        return answer

    def _strikes(self, kind: Misbehaviour) -> bool:
        return kind in self._kinds and self._chance.random() < SHARE

    def _same(self, route: Route, first: Answer, second: Answer) -> Answer:
        """Return which of two answers to the same bytes counts: a "no" becomes a "yes" when a late win has come."""
        if first.granted and second.granted and first.granted != second.granted and route in {"betwin", "rollback"}:
            self.surprises.append(f"{route}: a repeat was answered {second.granted}, at first it was {first.granted}")
        return first if first.granted else second

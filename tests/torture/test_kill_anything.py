"""P6 under fire: whatever is killed while bots play, no committed fact is lost or counted twice.

`make test` kills each process once and the owner too, and proves everything at the end; `make torture` goes on for as
long as KILLS says, plays on for longer in between, and proves everything after each.
"""

import logging
import os
import random
import time
from typing import Final

import pytest

from whole_casino import OWNER, VICTIMS, WholeCasino, whole_casino

LOG: Final = logging.getLogger("torture")
KILLS: Final = int(os.environ.get("KILLS", "6"))
SEED: Final = int(os.environ.get("SEED", random.SystemRandom().randrange(1_000_000)))


@pytest.mark.timeout(0)
def test_the_books_hold_and_every_fact_is_counted_whatever_is_killed_under_play() -> None:
    chance = random.Random(SEED)  # noqa: S311 - a dice, not a secret
    LOG.info("SEED=%d KILLS=%d", SEED, KILLS)
    each_once = [name for name in VICTIMS if name != "jobs"] + [OWNER]
    chance.shuffle(each_once)
    is_long = len(each_once) < KILLS
    with whole_casino(bots=True) as casino:
        for number in range(KILLS):
            name = each_once[number] if number < len(each_once) else chance.choice([*VICTIMS, OWNER])
            casino.play_on(chance.randint(20, 120 if is_long else 30))
            began = time.monotonic()
            casino.kill(name)
            away = time.monotonic() - began
            LOG.info(
                "%d. killed %s: whole after %.1f s, %d transactions", number + 1, name, away, casino.transactions()
            )
            if is_long:
                _prove(casino, f"killing {name}")
        casino.play_on(20)
        _prove(casino, "killing everything once")


def _prove(casino: WholeCasino, after: str) -> None:
    proof = casino.check()
    assert proof.returncode == 0, f"after {after}:\n{proof.stdout}{proof.stderr}"
    assert "P6" in proof.stdout
    LOG.info("%s", proof.stdout)

"""P6 through Kafka: whatever is killed between the log and the warehouse, and whichever way facts go next.

`make test` kills relay, loader and broker once each; `make torture` as often as KAFKA_KILLS says, and the stores too.
"""

import logging
import os
import random
import time
from typing import Final

import pytest

from whole_casino import OWNER, THROUGH_KAFKA, WholeCasino, whole_casino

LOG: Final = logging.getLogger("torture")
KILLS: Final = int(os.environ.get("KAFKA_KILLS", "3"))
SEED: Final = int(os.environ.get("SEED", random.SystemRandom().randrange(1_000_000)))


def proved(casino: WholeCasino, after: str) -> None:
    proof = casino.check()
    assert proof.returncode == 0, f"after {after}:\n{proof.stdout}{proof.stderr}{casino.said.read_text()}"
    assert "P6" in proof.stdout


@pytest.mark.timeout(0)
def test_facts_are_counted_once_whatever_is_killed_on_their_way_through_kafka_and_after_it_has_gone() -> None:
    chance = random.Random(SEED)  # noqa: S311 - a dice, not a secret
    LOG.info("SEED=%d KAFKA_KILLS=%d", SEED, KILLS)
    on_the_way = ["relay", "loader", "Kafka"]
    chance.shuffle(on_the_way)
    is_long = len(on_the_way) < KILLS
    with whole_casino(bots=True, kafka=not is_long) as casino:
        if is_long:
            casino.play_on(5)
            casino.stop()
            casino.kafka = True  # the facts of this folder went straight until now
            casino.start()
        for number in range(KILLS):
            name = on_the_way[number] if number < len(on_the_way) else chance.choice([*THROUGH_KAFKA, OWNER])
            casino.play_on(chance.randint(5, 25))
            began = time.monotonic()
            casino.kill(name)
            LOG.info("%d. killed %s: whole after %.1f s", number + 1, name, time.monotonic() - began)
            if is_long:
                proved(casino, f"killing {name}")
        proved(casino, "killing what is between the stores")
        loader = casino.find("loader")
        assert loader is not None
        loader.suspend()  # facts stay in Kafka, ...
        casino.play_on(10)
        casino.stop()
        casino.kafka = False
        casino.start()  # ... and are loaded before others go straight again
        assert "what Kafka still held" in casino.said.read_text()
        casino.play_on(5)
        proved(casino, "the way back without Kafka")

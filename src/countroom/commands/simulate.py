"""`countroom simulate`."""

import os
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from countroom.commands import console
from countroom.demo import bots
from countroom.settings import load


def simulate(
    *,
    players: Annotated[int, Parameter(validator=Number(gte=1, lte=500))] = 20,
    seconds: Annotated[float, Parameter(validator=Number(gt=0))] = 60.0,
    rate: Annotated[float, Parameter(validator=Number(gt=0, lte=1000))] = 15.0,
    seed: int | None = None,
    forever: bool = False,
) -> int:
    """Let bots play through HTTP only: several currencies, retries, reversals out of order, late wins.

    Needs a running casino (`countroom up --no-bots`). Exits 1 when any answer was not as it should be.

    Parameters
    ----------
    players
        How many bots.
    seconds
        How long they play.
    rate
        Rounds a second, of all of them together.
    seed
        Makes the bots choose alike again.
    forever
        Play until stopped.
    """
    summary = bots.simulate(
        load(os.environ),
        players=players,
        seconds=None if forever else seconds,
        rate=rate,
        seed=seed,
        console=console,
    )
    return 0 if summary.ok else 1

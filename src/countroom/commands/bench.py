"""`countroom bench`."""

import os
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from countroom.bench import bet as measure_bet
from countroom.commands import console


def bet(
    *,
    seconds: Annotated[float, Parameter(validator=Number(gte=1, lte=300))] = 8.0,
    rounds: Annotated[int, Parameter(validator=Number(gte=1, lte=9))] = 3,
    processes: Annotated[int, Parameter(validator=Number(gte=1, lte=16))] = min(16, os.cpu_count() or 1),
) -> int:
    """Compare signed bets over HTTP with the same five writes, row by row, by pgbench.

    Both run against a PostgreSQL of their own, durable commits on. Needs `wrk` (Debian: apt-get install wrk).

    Parameters
    ----------
    seconds
        Of each measurement.
    rounds
        How often both are measured; medians are compared.
    processes
        Web processes; as many as there are cores by default.
    """
    return measure_bet(seconds=seconds, rounds=rounds, processes=processes, console=console)

"""`countroom work`."""

import asyncio

from countroom import jobs
from countroom.commands import running


def work() -> int:
    """Do background work: KPI refreshes and proofs of the promises, on their timers."""
    with running() as settings:
        asyncio.run(jobs.run(settings))
    return 0

"""`countroom up`."""

import os

from countroom.commands import console
from countroom.embedded import up as supervisor
from countroom.settings import load


def up(*, bots: bool = True) -> int:
    """Start the whole casino here, and let bots play in it until Ctrl-C.

    Starts what is not named by a URL in the settings (PostgreSQL, Valkey, ClickHouse's engine), brings
    the schemas up to date, then runs web, pipeline, jobs and the sandboxes, and starts again what dies.

    Parameters
    ----------
    bots
        Whether bots play. Without them the casino waits for you.
    """
    return supervisor.run(load(os.environ), bots=bots, console=console)

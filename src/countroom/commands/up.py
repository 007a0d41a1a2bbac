"""`countroom up`."""

import os
from typing import Annotated

from cyclopts import Parameter

from countroom.commands import console
from countroom.embedded import up as supervisor
from countroom.settings import load


def up(
    *,
    bots: bool = True,
    kafka: Annotated[bool, Parameter(negative="")] = False,
    debezium: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Start the whole casino here, and let bots play in it until Ctrl-C.

    Starts what is not named by a URL in the settings (PostgreSQL, Valkey, ClickHouse's engine), brings
    the schemas up to date, then runs web, pipeline, jobs and the sandboxes, and starts again what dies.

    Parameters
    ----------
    bots
        Whether bots play. Without them the casino waits for you.
    kafka
        Send facts through Kafka, started here unless COUNTROOM_KAFKA_SERVERS names one; needs Java. Without it they
        go straight into ClickHouse, after whatever an earlier Kafka of this folder still holds.
    debezium
        Send facts through Kafka as well, and let Debezium in Kafka Connect, started here, take them there.
    """
    return supervisor.run(load(os.environ), bots=bots, kafka=kafka, debezium=debezium, console=console)

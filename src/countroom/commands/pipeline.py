"""`countroom pipeline`."""

from countroom.commands import running, stopping
from countroom.events import meters
from countroom.warehouse import pipeline as warehouse_pipeline


def pipeline() -> int:
    """Carry committed facts from PostgreSQL's log into ClickHouse, without a broker.

    Exactly one works at a time; a second waits. A position is confirmed to PostgreSQL only after
    ClickHouse has acknowledged everything before it.
    """
    with running() as settings, meters.serving(settings.host, settings.metrics_port):
        warehouse_pipeline.run(settings, stopping())
    return 0

"""`countroom pipeline`."""

import signal
import threading

from countroom.commands import running
from countroom.warehouse import pipeline as warehouse_pipeline


def pipeline() -> int:
    """Carry committed facts from PostgreSQL's log into ClickHouse, without a broker.

    Exactly one works at a time; a second waits. A position is confirmed to PostgreSQL only after
    ClickHouse has acknowledged everything before it.
    """
    with running() as settings:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        warehouse_pipeline.run(settings, stop)
    return 0

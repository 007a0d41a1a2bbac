"""Countroom's own processes, run as an operator runs them, beside stores that live as long as a measurement."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from countroom.bench.yardstick import fill
from countroom.embedded import stores
from countroom.settings import Settings, load


@contextmanager
def stores_with_kafka(folder: Path) -> Iterator[Settings]:
    """Start stores of their own, Kafka among them, with players in them."""
    folder.chmod(0o711)  # so that PostgreSQL, not root, may walk through
    with stores.owned(load({"COUNTROOM_DATA": str(folder / "data")}), kafka=True) as owned:
        owned.start()
        settings = owned.settings
        assert settings.database_url
        assert settings.secret_key
        asyncio.run(fill(settings.database_url, settings.secret_key))
        yield settings


@contextmanager
def running(settings: Settings, *command: str) -> Iterator[int]:
    """Run `countroom` with a command beside these stores, give its process id, and stop it in the end."""
    environment = {
        **os.environ,
        "COUNTROOM_DATA": str(settings.data_dir),
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "CLICKHOUSE_URL": settings.clickhouse_url or "",
        "COUNTROOM_KAFKA_SERVERS": settings.kafka_servers or "",
        "COUNTROOM_LOG_LEVEL": "error",
    }
    started = subprocess.Popen([sys.executable, "-m", "countroom", *command], env=environment)
    try:
        yield started.pid
    finally:
        started.terminate()
        started.wait(60)


def memory_mb(process: int, field: str = "VmRSS") -> float:
    """Return what a process holds in memory (``VmHWM``: the most that it has held); 0 where the system does not say."""
    try:
        told = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return 0.0
    return int(told.split(f"{field}:")[1].split()[0]) / 1024

"""What a process of the pipeline counts of its own work, for Prometheus and for its row in `pipeline_processes`.

Everything is counted by the batch, never by the row. docs/pipeline.md says what each is good for.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from countroom.refusal import Refusal

REGISTRY: Final = CollectorRegistry()
"""A web process imports this room, too; its own metrics must not carry a pipeline's zeros."""
for _collector in (ProcessCollector, PlatformCollector, GCCollector):
    _collector(registry=REGISTRY)

rows: Final = Counter(
    "countroom_pipeline_rows", "Messages that Kafka (of a relay) or ClickHouse has taken.", ["topic"], registry=REGISTRY
)
size: Final = Counter("countroom_pipeline_bytes", "The bytes of these messages.", ["topic"], registry=REGISTRY)
batch_rows: Final = Histogram(
    "countroom_pipeline_batch_rows", "Messages of one settlement (relay, pipeline) or one insert (load).",
    buckets=(1, 10, 100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000), registry=REGISTRY,
)  # fmt: skip
batch_seconds: Final = Histogram(
    "countroom_pipeline_batch_seconds", "How long the sink took to acknowledge a batch.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30), registry=REGISTRY,
)  # fmt: skip
visible_seconds: Final = Histogram(
    "countroom_pipeline_visible_seconds", "From a canary's commit until ClickHouse has acknowledged it.",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800), registry=REGISTRY,
)  # fmt: skip
commits: Final = Counter(
    "countroom_pipeline_settlements", "Positions that were confirmed to PostgreSQL.", registry=REGISTRY
)
committed_at: Final = Gauge(
    "countroom_pipeline_committed_timestamp_seconds", "When the last settled transaction was committed.",
    registry=REGISTRY,
)  # fmt: skip
dead_letters: Final = Counter(
    "countroom_pipeline_dead_letters", "Messages that this process has set aside.", ["topic"], registry=REGISTRY
)
rebalances: Final = Counter(
    "countroom_pipeline_rebalances", "Times that partitions came, went, or were lost.", ["what"], registry=REGISTRY
)
partitions: Final = Gauge("countroom_pipeline_partitions", "Partitions that this loader reads.", registry=REGISTRY)
interruptions: Final = Counter(
    "countroom_pipeline_interruptions", "Sessions that broke off; another one follows.", ["error"], registry=REGISTRY
)
queued_rows: Final = Gauge(
    "countroom_relay_queued_rows", "Messages in the producer that Kafka has not acknowledged.", registry=REGISTRY
)


class PortInUse(Refusal):
    """Another program listens on the port that the settings name for the metrics."""

    kind = "conflict"
    code = "metrics_port_in_use"


@contextmanager
def serving(host: str, port: int | None) -> Iterator[None]:
    """Answer Prometheus while the block runs, if there is a port to do it on.

    Raises:
        PortInUse: it cannot be had.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, host, REGISTRY)
    except OSError as error:
        raise PortInUse(
            f"The metrics cannot be served on {host}:{port} ({error.strerror}): set COUNTROOM_METRICS_PORT to another."
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def total(counter: Counter | Gauge) -> float:
    """Return what has been counted under all labels."""
    samples = (sample for metric in counter.collect() for sample in metric.samples)
    return sum(sample.value for sample in samples if not sample.name.endswith("_created"))


def mean(histogram: Histogram) -> tuple[float, float]:
    """Return how many were observed, and their sum."""
    samples = (sample for metric in histogram.collect() for sample in metric.samples)
    values = {sample.name.rsplit("_", 1)[1]: sample.value for sample in samples}
    return values["count"], values["sum"]


def settled(count: int, seconds: float, ts_us: int) -> None:
    """Count a batch that is safe, up to the transaction that was committed then."""
    batch_rows.observe(count)
    batch_seconds.observe(seconds)
    commits.inc()
    if ts_us:
        committed_at.set(ts_us / 1_000_000)


class Statistics:
    """Counts what one producer has sent, from what it says of itself every second."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def hear(self, said: str) -> None:
        """Take librdkafka's statistics."""
        spoken = _statistics(said)
        with self._lock:
            queued_rows.set(spoken.msg_cnt)
            for name, topic in spoken.topics.items():
                sent = sum(one.txmsgs for one in topic.partitions.values())
                sent_bytes = sum(one.txbytes for one in topic.partitions.values())
                known, known_bytes = self._before.get(name, (0, 0))
                rows.labels(name).inc(max(sent - known, 0))
                size.labels(name).inc(max(sent_bytes - known_bytes, 0))
                self._before[name] = sent, sent_bytes


class _Partition(msgspec.Struct):
    txmsgs: int = 0
    txbytes: int = 0


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition] = {}


class _Statistics(msgspec.Struct):
    msg_cnt: int = 0
    topics: dict[str, _Topic] = {}


_statistics: Any = msgspec.json.Decoder(_Statistics).decode

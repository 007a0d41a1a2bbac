"""This process's callbacks as Prometheus metrics, made of the recorder's counts when somebody asks."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from countroom.games.recording import BOUNDS, Recorder

BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 2.0, 8.0)
"""Of the recorder's bounds those that are told: as many series a provider as an alert needs."""


def registry(recorder: Recorder) -> CollectorRegistry:
    """Return what can be told now."""
    made = CollectorRegistry()
    made.register(_Callbacks(recorder))
    return made


class _Callbacks(Collector):
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "countroom_callbacks", "Callbacks answered.", labels=["provider", "action", "code"]
        )  # fmt: skip
        seconds = HistogramMetricFamily(
            "countroom_callback_seconds", "Time to answer a callback.", labels=["provider"]
        )  # fmt: skip
        outcomes = CounterMetricFamily(
            "countroom_callback_outcomes",
            "What the wallet refused of callbacks, by its own code; tombstones left and met.",
            labels=["provider", "outcome"],
        )
        for provider, tally in self.recorder.tallies.items():
            for (action, code), count in tally.answers.items():
                answers.add_metric([provider, action, code], count)
            for outcome, count in tally.outcomes.items():
                outcomes.add_metric([provider, outcome], count)
            buckets, passed = [], 0
            for bound, count in zip(BOUNDS, tally.counts, strict=False):
                passed += count
                if bound in BUCKETS:
                    buckets.append((str(bound), float(passed)))
            buckets.append(("+Inf", float(passed + tally.counts[-1])))
            seconds.add_metric([provider], buckets, sum_value=tally.seconds)
        yield answers
        yield seconds
        yield outcomes

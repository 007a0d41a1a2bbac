"""The commands of the command line, a file each, so that a process loads only what it runs."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from rich.console import Console

from countroom.embedded import stores
from countroom.refusal import Refusal
from countroom.settings import Settings, load

console: Final = Console(highlight=False)


@contextmanager
def running() -> Iterator[Settings]:
    """Give complete settings, with stores that run for as long as the command."""
    with stores.running(load(os.environ), lambda sentence: console.print(sentence, style="dim")) as settings:
        yield settings


class NoKafka(Refusal):
    """This command moves facts through Kafka, and no Kafka is named."""

    kind = "unavailable"
    code = "no_kafka"


def brokers_of(settings: Settings) -> dict[str, str]:
    """Return the client's properties by which Kafka is reached.

    Raises:
        NoKafka: none is named by the settings.
    """
    if settings.kafka_servers is None:
        raise NoKafka("Set COUNTROOM_KAFKA_SERVERS to the brokers (host:port,…).")
    properties = {}
    if settings.kafka_properties is not None:
        for line in settings.kafka_properties.read_text("utf-8").splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                properties[name.strip()] = value.strip()
    return {**properties, "bootstrap.servers": settings.kafka_servers}


def configure_log(settings: Settings) -> None:
    """Write the log to standard error, a JSON object a line."""
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )

"""The commands of the command line, a file each, so that a process loads only what it runs."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from rich.console import Console

from countroom.embedded import stores
from countroom.settings import Settings
from countroom.settings import load as read_settings  # a command has that name, too

console: Final = Console(highlight=False)


def stopping() -> threading.Event:
    """Return what Ctrl-C and SIGTERM set from now on."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextmanager
def running() -> Iterator[Settings]:
    """Give complete settings, with stores that run for as long as the command."""
    with stores.running(read_settings(os.environ), lambda sentence: console.print(sentence, style="dim")) as settings:
        yield settings


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

"""One process of Countroom under supervision: started, started again when it ends, stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from countroom.embedded import process
from countroom.embedded.lifeline import Lifeline
from countroom.embedded.secrets import Secrets
from countroom.settings import Settings

BACKOFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""How long to wait before the first, second, … restart in a row."""
STEADY_SECONDS: Final = 60.0
"""What has run so long is well again: its next restart is a first one."""


class Backoff:
    """When to try again, for anything that fails again and again."""

    def __init__(self) -> None:
        self._failures = 0
        self._succeeded_at = time.monotonic()
        self.due_at: float | None = None

    def failed(self) -> float:
        """Note a failure and return the seconds until the next attempt."""
        if time.monotonic() - self._succeeded_at > STEADY_SECONDS:
            self._failures = 0
        seconds = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1
        self.due_at = time.monotonic() + seconds
        return seconds

    def is_due(self) -> bool:
        """Whether the next attempt's time has come."""
        return self.due_at is not None and time.monotonic() >= self.due_at

    def started(self) -> None:
        """Note an attempt that began well."""
        self.due_at = None
        self._succeeded_at = time.monotonic()


class Child:
    """One Python process of ours, with its log and its restarts."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.backoff = Backoff()
        self.restarts = 0
        self._command = [sys.executable, *arguments]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self.is_running() and self._process else None

    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, lifeline: Lifeline) -> None:
        """Start it; it ends when the lifeline is let go."""
        self._process = process.start(
            self._command,
            log=self.log,
            environment={**self._environment, **lifeline.environment()},
            folder=Path.cwd(),
            pass_fds=[lifeline.read_end],
        )
        self.backoff.started()

    def ended(self) -> str:
        """Say how it ended, and end what it left: web workers outlive a killed web process."""
        assert self._process is not None
        self._end_group()
        code = self._process.returncode
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    def ask_to_end(self) -> None:
        """Send SIGTERM, and return at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until it has ended, kill it at the deadline (of the monotonic clock), and reap it."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self._end_group()
        self._process.wait()

    def _end_group(self) -> None:
        assert self._process is not None
        # It leads a process group of its own, which outlives it only with what it left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def children(settings: Settings, kept: Secrets, *, bots: bool, debezium: bool = False) -> list[Child]:
    """Return the processes of a whole casino in the order in which they start; they stop in the reverse.

    Facts go straight into the warehouse, or where a Kafka is named through it, taken there by the relay or Debezium.
    """
    strangers = environment(settings)
    ours = {
        **strangers,
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "CLICKHOUSE_URL": settings.clickhouse_url or "",
        "COUNTROOM_SECRET_KEY": settings.secret_key or "",
        "COUNTROOM_SANDBOX_PSP_SECRET": settings.sandbox_psp_secret or "",
    }
    # The sandboxes and the bots are strangers: they have their own secrets and no way into the stores.
    demo = {
        **strangers,
        "COUNTROOM_SANDBOX_PSP_SECRET": settings.sandbox_psp_secret or "",
        "COUNTROOM_SANDBOX_PROVIDER_KEY": kept.sandbox_provider_key,
    }
    logs = settings.data_dir / "logs"
    if settings.kafka_servers is None:
        facts = ["pipeline"]
    else:
        ours["COUNTROOM_KAFKA_SERVERS"] = settings.kafka_servers
        facts = ["debezium" if debezium else "relay", "load"]
    listed = [
        *(
            Child(name, ["-m", "countroom", name], ours | _metrics(settings, number), logs / f"{name}.log")
            for number, name in enumerate(facts)
        ),
        Child("jobs", ["-m", "countroom", "work"], ours, logs / "jobs.log"),
        Child("web", ["-m", "countroom", "serve"], ours, logs / "web.log"),
        Child("sandbox", ["-m", "countroom.demo"], demo, logs / "sandbox.log"),
    ]
    if bots:
        listed.append(Child("bots", ["-m", "countroom", "simulate", "--forever"], strangers, logs / "bots.log"))
    return listed


def _metrics(settings: Settings, number: int) -> dict[str, str]:
    """Return which port the first, second, … of the pipeline's processes answers Prometheus on."""
    return {} if settings.metrics_port is None else {"COUNTROOM_METRICS_PORT": str(settings.metrics_port + number)}


def environment(settings: Settings) -> dict[str, str]:
    """Return what every child gets: the variables of whoever started us, no addresses or secrets of the stores."""
    secret = {"DATABASE_URL", "REDIS_URL", "CLICKHOUSE_URL", "COUNTROOM_SECRET_KEY", "COUNTROOM_SANDBOX_PSP_SECRET"}
    return {
        **{name: value for name, value in os.environ.items() if name not in secret},
        **process.python_environment(),
        "COUNTROOM_DATA": str(settings.data_dir),
        "COUNTROOM_HOST": settings.host,
        "COUNTROOM_PORT": str(settings.port),
        "COUNTROOM_SANDBOX_PSP_PORT": str(settings.sandbox_psp_port),
        "COUNTROOM_SANDBOX_PROVIDER_PORT": str(settings.sandbox_provider_port),
        "COUNTROOM_SANDBOX_PSP_URL": settings.sandbox_psp_url,
    }

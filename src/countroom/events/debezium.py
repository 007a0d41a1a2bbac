"""Debezium in the relay's place: its connector in Kafka Connect, by Connect's REST interface.

The connector is ``deploy/debezium/connector.json``, as an operator posts it. It copies no tables
(``snapshot.mode=no_data``): the relay's own copy does that, whose rows carry a version that loses to
everything that was under way when the slot was made. And it keeps no position of its own between two
beginnings: the slot has it, whichever way the facts went meanwhile.
"""

import http.client
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

CONNECTOR: Final = Path(__file__).resolve().parents[3] / "deploy" / "debezium" / "connector.json"
ANSWER_SECONDS: Final = 10.0
BEGIN_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
ANSWERED, MISSING, BUSY = 200, 404, 409


class ConnectAwayError(Exception):
    """Kafka Connect does not answer, or not as it was asked."""


class Connector:
    """One connector of a Kafka Connect whose REST interface is at ``url``."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._posted: dict[str, Any] = json.loads(CONNECTOR.read_text("utf-8"))
        self._path = f"/connectors/{self._posted['name']}"

    def begin(self, changed: Mapping[str, str] | None = None) -> None:
        """Make it, or make it anew, and let it begin where the slot is; ``changed`` settings differ from the file's.

        Raises:
            ConnectAwayError: Connect does not do it.
        """
        deadline = time.monotonic() + BEGIN_SECONDS
        self.remove()
        posted = {**self._posted, "config": {**self._posted["config"], **(changed or {})}}
        self._until_done(deadline, "POST", "/connectors", posted)
        # What it remembers of an earlier time is behind the slot, or ahead of it after a restored backup.
        self._until_done(deadline, "DELETE", f"{self._path}/offsets")
        self._until_done(deadline, "PUT", f"{self._path}/resume")
        while self.states() != ["RUNNING", "RUNNING"]:
            if time.monotonic() > deadline or self.failure() is not None:
                raise ConnectAwayError(f"Debezium did not begin: {self.failure() or self.states()}")
            time.sleep(POLL_SECONDS)

    def remove(self) -> None:
        """Take it out of Connect, if it is there."""
        self._until_done(time.monotonic() + ANSWER_SECONDS, "DELETE", self._path, may_be_missing=True)

    def states(self) -> list[str]:
        """Return the state of the connector and of each of its tasks; empty when Connect does not know it."""
        status = self._status()
        return [part["state"] for part in [status["connector"], *status["tasks"]]] if status else []

    def failure(self) -> str | None:
        """Return why it or its task has failed, in a line; None while neither has."""
        status = self._status()
        parts = [status["connector"], *status["tasks"]] if status else []
        traces = [part.get("trace", "no reason given") for part in parts if part["state"] == "FAILED"]
        causes = [line for trace in traces for line in trace.splitlines() if line and not line.startswith("\tat ")]
        return causes[-1][:500] if causes else None

    def restart(self) -> None:
        """Start what has failed again."""
        self._ask("POST", f"{self._path}/restart?includeTasks=true&onlyFailed=true")

    def _status(self) -> dict[str, Any] | None:
        code, body = self._ask("GET", f"{self._path}/status")
        return json.loads(body) if code == ANSWERED else None

    def _until_done(
        self, deadline: float, method: str, path: str, body: object = None, *, may_be_missing: bool = False
    ) -> None:
        """Ask until it is done: while Connect's members agree among themselves it answers that it is busy."""
        while True:
            code, answer = self._ask(method, path, body)
            if code // 100 == ANSWERED // 100 or (may_be_missing and code == MISSING):
                return
            if time.monotonic() > deadline:
                raise ConnectAwayError(f"Kafka Connect answered {code} to {method} {path}: {answer.decode()[:500]}")
            time.sleep(POLL_SECONDS)

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._address, timeout=ANSWER_SECONDS)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ConnectAwayError(f"Kafka Connect does not answer: {error}") from error
        finally:
            connection.close()

"""A call to our own callback address, without a network: what the console's button sends."""

import time
from dataclasses import dataclass
from typing import Any

from countroom.games.dialects import Callback
from countroom.web.callbacks import PREFIX, Callbacks


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back."""

    status: int
    body: bytes
    seconds: float


async def send(callbacks: Callbacks, provider_code: str, callback: Callback) -> Answered:
    """Send a call through everything that a provider's call goes through, and return the answer."""
    body = callback.body or b""
    headers = {
        b"content-type": b"application/json", b"content-length": str(len(body)).encode(),
        b"user-agent": b"countroom-console", **callback.headers,
    }  # fmt: skip
    scope: Any = {
        "type": "http", "method": callback.method, "path": f"{PREFIX}{provider_code}/{callback.action}",
        "query_string": callback.query, "headers": list(headers.items()),
        "client": callbacks.networks.some_address(provider_code),
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def give(message: Any) -> None:
        sent.append(message)

    began = time.perf_counter()
    await callbacks(scope, receive, give)
    seconds = time.perf_counter() - began
    return Answered(sent[0]["status"], b"".join(one.get("body", b"") for one in sent), seconds)

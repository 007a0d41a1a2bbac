"""Delivers the sandbox PSP's webhooks until somebody answers 2xx."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import httpx
import structlog

from countroom.demo.psp_store import Store, Webhook
from countroom.demo.signatures import SANDBOX_HEADER, sandbox_signature

AT_ONCE_MAX: Final = 8
"""Deliveries in flight; one receiver that hangs does not hold up the others."""
ANSWER_SECONDS: Final = 10.0
BACKOFF_FIRST_SECONDS: Final = 0.25
BACKOFF_MAX_SECONDS: Final = 60.0
GIVE_UP_SECONDS: Final = 3 * 24 * 3600
"""As long as Stripe goes on trying."""

log = structlog.get_logger("countroom.demo.psp")


def backoff_seconds(attempts: int) -> float:
    """Return how long to wait after so many failed attempts: doubling from a quarter second to a minute."""
    return min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(attempts - 1, 20))


class Deliveries:
    """The background task that sends what waits in the store. Idle, it sleeps until it is woken."""

    def __init__(
        self, store: Store, secret: str, http: httpx.AsyncClient, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._secret = secret
        self._http = http
        self._clock = clock
        self._woken = asyncio.Event()
        self._in_flight: dict[str, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Look again now: something new waits."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver for ever; cancel to stop. What was not acknowledged stays in the store."""
        try:
            while True:
                self._woken.clear()
                pause = self._start_due()
                try:
                    await asyncio.wait_for(self._woken.wait(), pause)
                except TimeoutError:
                    continue
        finally:
            for task in self._in_flight.values():
                task.cancel()
            await asyncio.gather(*self._in_flight.values(), return_exceptions=True)

    def _start_due(self) -> float | None:
        """Start what is due; return the seconds until the next look, None for "when woken"."""
        now = self._clock()
        for webhook in self._store.waiting(2 * AT_ONCE_MAX):
            if webhook.event_id in self._in_flight:
                continue
            if len(self._in_flight) >= AT_ONCE_MAX:
                return None  # the next that ends wakes us
            if webhook.next_at > now:
                return webhook.next_at - now
            task = asyncio.create_task(self._deliver(webhook))
            self._in_flight[webhook.event_id] = task
        return None

    async def _deliver(self, webhook: Webhook) -> None:
        try:
            trouble = await self._attempt(webhook)
            if trouble is None:
                self._store.delivered(webhook.event_id)
                return
            now = self._clock()
            attempts = webhook.attempts + 1
            given_up = now - webhook.created_at > GIVE_UP_SECONDS
            self._store.put_off(webhook.event_id, None if given_up else now + backoff_seconds(attempts))
            log.warning("webhook_not_taken", event_id=webhook.event_id, attempts=attempts, trouble=trouble)
        finally:
            self._in_flight.pop(webhook.event_id, None)
            self.wake()

    async def _attempt(self, webhook: Webhook) -> str | None:
        """Send once; return what was wrong. Each attempt is signed anew, for its own moment."""
        headers = {
            "content-type": "application/json",
            SANDBOX_HEADER: sandbox_signature(self._secret, webhook.body, at=self._clock()),
        }
        try:
            answer = await self._http.post(webhook.url, content=webhook.body, headers=headers, timeout=ANSWER_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__
        return None if answer.is_success else f"HTTP {answer.status_code}"

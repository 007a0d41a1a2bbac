"""What operators' machines ask: is it alive, is it ready, what does it count."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import clickhouse_connect.driver.exceptions as clickhouse_errors
import structlog
from litestar import MediaType, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from redis.exceptions import RedisError

from countroom.events import catalog
from countroom.proof import KeptProof, latest, newest_of_each
from countroom.refusal import Refusal
from countroom.warehouse import rules, watch
from countroom.web import callback_metrics

PROOFS_SECONDS: Final = 3.0
"""A scrape waits no longer for PostgreSQL."""

_log = structlog.get_logger()


@get("/health/live", summary="Whether this process runs", tags=["operations"])
async def live() -> dict[str, str]:
    """Answer as long as the process can answer at all."""
    return {"status": "alive"}


@get("/health/ready", summary="Whether this process can serve players", tags=["operations"])
async def ready(state: State) -> Response[dict[str, Any]]:
    """Ask each store for a sign of life; without PostgreSQL nobody can be served (503).

    Redis and ClickHouse may be away: people are signed out and figures are late, money moves on.
    """
    stores = {}
    try:
        await state.database.fetchrow("SELECT 1")
        stores["postgresql"] = "ready"
    except OSError as error:
        stores["postgresql"] = f"unreachable: {type(error).__name__}"
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is not ready
        stores["postgresql"] = f"failing: {type(error).__name__}"
    try:
        await state.redis.ping()
        stores["redis"] = "ready"
    except (RedisError, OSError) as error:
        stores["redis"] = f"unreachable: {type(error).__name__}"
    try:
        warehouse = await state.warehouse()
        await warehouse.command("SELECT 1")
        stores["clickhouse"] = "ready"
    except (Refusal, clickhouse_errors.Error, OSError) as error:
        stores["clickhouse"] = f"unreachable: {type(error).__name__}"
    fine = stores["postgresql"] == "ready"
    return Response({"status": "ready" if fine else "not ready", "stores": stores}, status_code=200 if fine else 503)


@get("/metrics", media_type=MediaType.TEXT, include_in_schema=False)
async def metrics(state: State) -> Response[bytes]:
    """Give Prometheus metrics: this process's own, and the promises' and the pipeline's, which all answer alike.

    Those are read from PostgreSQL. When that is away, they are missing, and the rest goes on.
    """
    text = generate_latest() + generate_latest(callback_metrics.registry(state.callbacks.recorder))
    try:
        async with asyncio.timeout(PROOFS_SECONDS):
            text += generate_latest(_promises(await latest(state.database)))
            text += generate_latest(await _pipeline(state))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:  # TimeoutError is an OSError
        _log.warning("PostgreSQL cannot be read for the metrics", error=type(error).__name__)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _promises(proofs: Sequence[KeptProof]) -> CollectorRegistry:
    """Return the promises as metrics; see docs/books.md for the alerts that they are for."""
    registry = CollectorRegistry()
    holds = Gauge(
        "countroom_promise_holds",
        "Whether the last proof found it kept (1) or broken (0).",
        ["promise", "scope"],
        registry=registry,
    )
    seconds = Gauge(
        "countroom_promise_proof_seconds", "How long the last proof took.", ["promise", "scope"], registry=registry
    )
    checked = Gauge(
        "countroom_promise_checked_timestamp_seconds", "When it was proved last.", ["promise"], registry=registry
    )
    checked_fully = Gauge(
        "countroom_promise_checked_fully_timestamp_seconds",
        "When it was proved over everything last.",
        ["promise"],
        registry=registry,
    )
    violations = Gauge(
        "countroom_promise_violations",
        "Violations that the last proof names, which are the first ones.",
        ["promise"],
        registry=registry,
    )
    for proof in proofs:
        holds.labels(proof.promise, proof.scope).set(proof.holds)
        if proof.seconds is not None:
            seconds.labels(proof.promise, proof.scope).set(proof.seconds)
        if proof.scope == "full":
            checked_fully.labels(proof.promise).set(proof.checked_at.timestamp())
        elif proof.promise == "P1":  # P1 to P5 are proved together
            waiting = Gauge(
                "countroom_books_waiting_entries",
                "New entries of the journal that the last proof of what is new has left to the next one.",
                registry=registry,
            )
            waiting.set(proof.waiting)
    for proof in newest_of_each(proofs):
        checked.labels(proof.promise).set(proof.checked_at.timestamp())
        violations.labels(proof.promise).set(len(proof.violations))
    return registry


async def _pipeline(state: State) -> CollectorRegistry:
    """Return what must be known of the pipeline while it is dead; see docs/pipeline.md."""
    registry = CollectorRegistry()

    def gauge(name: str, what: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"countroom_{name}", what, labels, registry=registry)

    up = gauge("pipeline_up", "Processes of this role that have spoken in the last seconds.", ["role"])
    for role in ("pipeline", "relay", "debezium", "load", "work"):
        up.labels(role).set(0)
    for process in await watch.processes(state.database):
        if rules.is_alive(process.silent_seconds, has_ended=process.ended_at is not None):
            up.labels(process.role).inc()
    slot = await watch.slot_state(state.database)
    if slot is not None:
        gauge("slot_active", "Whether somebody reads the slot.").set(slot.is_active)
        gauge("slot_unconfirmed_bytes", "Log that is not safe elsewhere.").set(slot.unconfirmed_bytes)
        gauge("slot_retained_bytes", "Log that is kept for the slot.").set(slot.retained_bytes)
        if slot.safe_bytes is not None:
            gauge("slot_safe_bytes", "Log that may be written before the slot is in danger.").set(slot.safe_bytes)
        status = gauge("slot_status", "1 for the slot's wal_status.", ["status"])
        for name in ("reserved", "extended", "unreserved", "lost"):
            status.labels(name).set(slot.status == name)
    async with state.database.connection() as connection:
        letters = await watch.open_letters_by_topic(connection)
    waiting = gauge("dead_letters_open", "Dead letters that wait for somebody.", ["topic"])
    for topic in {*catalog.PUBLISHED, *letters}:
        waiting.labels(topic).set(letters.get(topic, 0))
    sent = await watch.silent_canary(state.database)
    if sent is not None:
        gauge("canary_sent_timestamp_seconds", "When the last canary was sent.").set(sent[0].timestamp())
    return registry


route_handlers: list[HTTPRouteHandler] = [live, ready, metrics]

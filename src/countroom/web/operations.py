"""What operators' machines ask: is it alive, is it ready, what does it count."""

from typing import Any

import clickhouse_connect.driver.exceptions as clickhouse_errors
from litestar import MediaType, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError

from countroom.refusal import Refusal


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
async def metrics() -> Response[bytes]:
    """Give this process's Prometheus metrics."""
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


route_handlers: list[HTTPRouteHandler] = [live, ready, metrics]

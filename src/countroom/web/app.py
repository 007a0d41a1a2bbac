"""The web application: what it holds open, its addresses, and how it says no."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import ScalarRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from countroom import __version__
from countroom import redis as redis_tap
from countroom.games.recording import Recorder
from countroom.games.service import Catalog, HousePolicy
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.wallet.balances import BalanceCache
from countroom.wallet.batch import LANES, LANES_AMONG_OTHERS, STATEMENT_SECONDS
from countroom.wallet.service import Batcher
from countroom.web import backoffice, lobby, operations, problems
from countroom.web.addresses import CallbackNetworks
from countroom.web.api import games, payments, players, rounds, staff, statements
from countroom.web.callbacks import Callbacks, Wallet
from countroom.web.warehouse import Warehouse

BODY_BYTES_MAX: Final = 1024 * 1024
"""Of a request to our own API; providers' callbacks have their protocol's cap."""


def create_app(settings: Settings) -> Litestar:
    """Wire the application, all but the providers' callbacks (`Front`). The settings must name everything."""
    assert settings.database_url
    assert settings.redis_url
    assert settings.clickhouse_url
    assert settings.secret_key
    return Litestar(
        route_handlers=[
            *operations.route_handlers,
            *players.route_handlers,
            *payments.route_handlers,
            *games.route_handlers,
            *staff.route_handlers,
            *statements.route_handlers,
            *rounds.route_handlers,
            *backoffice.route_handlers,
            # An operator has a site of its own; ours belongs to the demo, as the sandbox PSP that its money comes from.
            *(lobby.route_handlers if settings.sandbox_psp_secret else ()),
        ],
        lifespan=[_lifespan(settings)],
        exception_handlers={
            Refusal: problems.on_refusal,
            HTTPException: problems.on_http_exception,
            RecursionError: problems.on_deep_nesting,
            Exception: problems.on_fault,
        },
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=OpenAPIConfig(
            title="Countroom",
            version=__version__,
            description="Players, wallets, payments, games and figures of a licensed online casino. "
            "Refusals are application/problem+json with a stable code.",
            path="/api",
            render_plugins=[ScalarRenderPlugin(path="/docs")],
            components=Components(
                security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", description="From a sign-in.")}
            ),
        ),
        debug=False,
        logging_config=None,
    )


def _lifespan(settings: Settings) -> Callable[[Litestar], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        assert settings.database_url
        assert settings.redis_url
        assert settings.clickhouse_url
        assert settings.secret_key
        async with contextlib.AsyncExitStack() as stack:
            database = await Database.connect(settings.database_url)
            stack.push_async_callback(database.close)
            lanes = LANES if settings.web_processes == 1 else LANES_AMONG_OTHERS
            write_path = await Database.connect(
                settings.database_url, size_max=lanes, point_reads_only=True, statement_seconds=STATEMENT_SECONDS
            )
            stack.push_async_callback(write_path.close)
            redis = redis_tap.connect(settings.redis_url)
            stack.push_async_callback(redis.aclose)
            warehouse = Warehouse(settings.clickhouse_url)
            stack.push_async_callback(warehouse.close)
            catalog = await stack.enter_async_context(Catalog(database, settings.secret_key))
            cache = await stack.enter_async_context(BalanceCache(redis))
            recorder = await stack.enter_async_context(Recorder(database, catalog))
            batcher = await stack.enter_async_context(Batcher(write_path, on_change=cache.changed, lanes=lanes))
            policy = HousePolicy(settings.launch_identity, settings.second_session)
            app.state.update(
                settings=settings,
                house_policy=policy,
                database=database,
                redis=redis,
                balances=cache,
                warehouse=warehouse,
                catalog=catalog,
                callbacks=Callbacks(
                    catalog,
                    Wallet(database, batcher, policy, recorder),
                    recorder,
                    CallbackNetworks(settings.callback_networks),
                ),
            )
            yield

    return lifespan

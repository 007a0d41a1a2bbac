"""`countroom serve`."""

import multiprocessing.connection
import os
import signal
import threading
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from countroom.commands import configure_log, running
from countroom.settings import Settings, load
from countroom.wallet.batch import collect_rarely
from countroom.web import shared_port
from countroom.web.addresses import server_options
from countroom.web.app import create_app
from countroom.web.front import Front
from countroom.web.protocol import Protocol


def serve() -> int:
    """Serve the API, the back office and the provider callbacks.

    COUNTROOM_WEB_PROCESSES says how many processes share the port. They hold no state of their own.
    """
    with running() as settings:
        config = uvicorn.Config(
            "countroom.commands.serve:application",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.web_processes,
            loop="uvloop",
            http=Protocol,
            lifespan="on",
            access_log=False,
            log_level=settings.log_level,
            timeout_graceful_shutdown=5,
            server_header=False,
            **server_options(settings),
        )
        _export(settings)
        if settings.web_processes > 1:
            first = config.bind_socket()  # refused where somebody listens already, also on a shared port
            if shared_port.IS_DEALT_OUT:
                family, address = first.family, first.getsockname()
                first.close()
                with shared_port.bind(family, address):  # nobody else's, also while no process is there
                    own: Any = shared_port.OwnSocket(family, address)
                    Multiprocess(config, sockets=[own]).run()
            else:
                Multiprocess(config, sockets=[first]).run()
        else:
            uvicorn.Server(config).run()
    return 0


def application() -> Front:
    """Make the application in a web process; its environment names every store."""
    settings = load(os.environ)
    configure_log(settings)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # One of several web processes: it must not outlive the one that shares out the port.
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    app = create_app(settings)
    collect_rarely()
    return Front(app)


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _export(settings: Settings) -> None:
    """Name every store and secret in the environment, where web processes look for them."""
    for variable, value in (
        ("DATABASE_URL", settings.database_url),
        ("REDIS_URL", settings.redis_url),
        ("CLICKHOUSE_URL", settings.clickhouse_url),
        ("COUNTROOM_SECRET_KEY", settings.secret_key),
        ("COUNTROOM_SANDBOX_PSP_SECRET", settings.sandbox_psp_secret),
    ):
        if value is not None:
            os.environ[variable] = value

"""Real HTTP servers in the test's own loop, and the sandboxes as the process that they are."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from countroom.embedded.process import free_port

PSP_SECRET = "psp-secret-of-the-tests"
PROVIDER_KEY = "provider-key-of-the-tests"


@asynccontextmanager
async def served(application: Any, port: int = 0) -> AsyncIterator[str]:
    """Serve an ASGI application; yields its address."""
    # Named as TCP: asyncio switches Nagle's delay off only where it reads that.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(application, lifespan="off", log_level="warning", ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


class Sandbox:
    """``python -m countroom.demo``, which can be killed and started again on the same folder."""

    def __init__(self, folder: Path, casino_port: int) -> None:
        self.folder = folder
        self.psp_port = free_port()
        self.provider_port = free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COUNTROOM_DATA": str(folder),
            "COUNTROOM_PORT": str(casino_port),
            "COUNTROOM_SANDBOX_PSP_PORT": str(self.psp_port),
            "COUNTROOM_SANDBOX_PROVIDER_PORT": str(self.provider_port),
            "COUNTROOM_SANDBOX_PSP_SECRET": PSP_SECRET,
            "COUNTROOM_SANDBOX_PROVIDER_KEY": PROVIDER_KEY,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "countroom.demo"], env=self.environment)
        deadline = time.monotonic() + 20
        for port in (self.psp_port, self.provider_port):
            while True:
                assert self.process.poll() is None, "the sandbox has ended"
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False).is_success:
                        break
                except httpx.TransportError:
                    assert time.monotonic() < deadline, "the sandbox does not answer"
                    time.sleep(0.05)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(10)

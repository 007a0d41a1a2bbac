"""Several web processes on one port: each has a socket of its own, and connections are dealt out among them."""

import socket
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil

from casino import open_casino
from countroom.settings import Settings
from patience import until
from two_servers import Server

CONNECTIONS = 100


def listeners(server: Server) -> Counter[str]:
    """The sockets that listen on a server's port, by inode."""
    found: Counter[str] = Counter()
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{server.port:04X}") and fields[3] == "0A":
            found[fields[9]] += 1
    return found


def connections(server: Server) -> list[int]:
    """How many connections each web process has."""
    assert server.process is not None
    found = []
    for process in psutil.Process(server.process.pid).children():
        mine = [one for one in process.net_connections("tcp") if one.laddr and one.laddr.port == server.port]
        if any(one.status == psutil.CONN_LISTEN for one in mine):
            found.append(sum(one.status == psutil.CONN_ESTABLISHED for one in mine))
    return found


def is_live(server: Server) -> bool:
    url = f"http://127.0.0.1:{server.port}/health/live"
    return httpx.get(url, trust_env=False, timeout=5).is_success


def said_by_a_second(server: Server) -> str:
    """What another casino says that wants the same port, and does not get it."""
    command = [sys.executable, "-m", "countroom", "serve"]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


async def test_two_processes_share_a_port_and_its_connections(settings: Settings, tmp_path: Path) -> None:
    assert settings.database_url
    async with open_casino(settings.database_url):
        server = Server(settings, tmp_path, 1)
        server.environment["COUNTROOM_WEB_PROCESSES"] = "2"
        server.start()
        try:
            server.wait_until_ready()
            until(lambda: len(listeners(server)) == 2)

            with ExitStack() as stack:
                for _ in range(CONNECTIONS):
                    stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
                until(lambda: sum(connections(server)) == CONNECTIONS)
                assert min(connections(server)) >= CONNECTIONS // 5  # less happens once in ten milliards of times

            assert "Address already in use" in said_by_a_second(server)

            assert server.process is not None
            before = set(listeners(server))
            victim = next(
                child
                for child in psutil.Process(server.process.pid).children()
                if any(one.status == psutil.CONN_LISTEN for one in child.net_connections("tcp"))
            )
            victim.kill()
            until(lambda: len(before & set(listeners(server))) == 1)
            assert all(is_live(server) for _ in range(20))
            until(lambda: len(listeners(server)) == 2)
            assert all(is_live(server) for _ in range(20))
        finally:
            server.stop()

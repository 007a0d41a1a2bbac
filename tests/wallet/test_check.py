"""`countroom check`: an operator chooses what to prove, and is told what it found."""

import json
import subprocess
import sys

from casino import Casino
from countroom.settings import Settings


async def test_only_the_books_are_proved_when_only_they_are_asked_for(casino: Casino, settings: Settings) -> None:
    player = await casino.player(main="10.00")
    await player.bet("3.00", key="b1")

    full = _check(settings, "books", "--json")
    incremental = _check(settings, "books", "--incremental", "--json")

    assert full.returncode == incremental.returncode == 0, full.stdout + full.stderr
    told = [json.loads(done.stdout.splitlines()[-1]) for done in (full, incremental)]
    assert [each["holds"] for each in told] == [True, True]
    for each, scope in zip(told, ("full", "incremental"), strict=True):
        assert [promise["promise"] for promise in each["promises"]] == ["P1", "P2", "P3", "P4", "P5"]
        assert {promise["scope"] for promise in each["promises"]} == {scope}
        assert all(promise["compared"] >= 0 and promise["seconds"] >= 0 for promise in each["promises"])
    assert "the books add up" in full.stdout
    rows = await casino.database.fetch("SELECT FROM proofs WHERE promise = 'P6'")
    assert not rows


async def test_a_violation_is_printed_and_is_the_exit_code(casino: Casino, settings: Settings) -> None:
    player = await casino.player(main="10.00")
    await player.bet("3.00", key="b1")
    await casino.database.pool.execute("UPDATE wallet_accounts SET balance = balance + 1 WHERE type = 'main'")

    done = [_check(settings, "books"), _check(settings, "books", "--incremental")]
    await casino.database.pool.execute("UPDATE wallet_accounts SET balance = balance - 1 WHERE type = 'main'")
    repaired = _check(settings, "books")

    assert [each.returncode for each in done] == [1, 1]
    assert "has 8.00 at sequence 2; its 2 entries add up to 7.00 and the last one says 7.00" in done[0].stdout
    assert "P1: wallet " in done[1].stdout
    assert repaired.returncode == 0


def test_the_help_teaches(settings: Settings) -> None:
    told = _check(settings, "--help").stdout

    for word in ("books", "warehouse", "--incremental", "--json", "docs/books.md"):
        assert word in told


def _check(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "CLICKHOUSE_URL": settings.clickhouse_url or "",
        "COUNTROOM_DATA": str(settings.data_dir),
        "COUNTROOM_SECRET_KEY": settings.secret_key or "",
        "PYTHONPATH": ":".join(sys.path),
        "COLUMNS": "120",
    }
    return subprocess.run(
        [sys.executable, "-m", "countroom", "check", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

"""The bots, at the whole platform over HTTP, and what they say when there is none."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from countroom.demo import bots
from countroom.embedded.process import free_port
from countroom.settings import load
from whole_casino import WholeCasino, whole_casino


def simulate(casino: WholeCasino, seconds: int) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "countroom",
        "simulate",
        "--players",
        "6",
        "--seconds",
        str(seconds),
        "--rate",
        "20",
    ]
    return subprocess.run(command, env=casino.environment, capture_output=True, text=True, timeout=90, check=False)


def test_bots_play_through_http_and_every_promise_holds_afterwards() -> None:
    with whole_casino(bots=False) as casino:
        played = simulate(casino, 8)
        summary: dict[str, Any] = json.loads(played.stdout.splitlines()[-1])

        assert played.returncode == 0, played.stdout
        assert (summary["errors"], summary["unavailable"], summary["findings"]) == (0, 0, [])
        for figure in ("bets", "wins", "reversals", "retries", "deposits", "sign_outs", "refusals"):
            assert summary[figure] > 0, figure
        assert set(summary["staked"]) == {"EUR", "USD", "GBP", "SEK", "JPY"}
        assert "." not in summary["staked"]["JPY"]

        proved = casino.check()
        assert proved.returncode == 0, proved.stdout

        again = simulate(casino, 1)
        kept = casino.data / "bots.json"
        assert again.returncode == 0, again.stdout
        assert len(json.loads(kept.read_text())) == 6
        assert oct(kept.stat().st_mode)[-3:] == "600"


def test_without_a_casino_the_simulation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bots, "START_SECONDS", 0.2)
    settings = load({"COUNTROOM_DATA": str(tmp_path), "COUNTROOM_PORT": str(free_port())})
    screen = io.StringIO()

    summary = bots.simulate(settings, players=2, seconds=1, rate=1, seed=1, console=Console(file=screen))

    assert not summary.ok
    assert summary.findings == [f"Nobody answers at http://127.0.0.1:{settings.port}: is `countroom up` running?"]
    assert json.loads(screen.getvalue().splitlines()[-1])["rounds"] == 0

"""The README's lines do what the README says, on a casino started by the README's command."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whole_casino import whole_casino

README = Path(__file__).parents[2] / "README.md"


def test_the_casino_can_be_played_by_hand_as_the_readme_says() -> None:
    script = re.findall(r"```sh\n(.+?)```", README.read_text().partition("## Play by hand")[2], re.DOTALL)[0]
    with whole_casino(bots=False) as casino:
        for default, here in (
            ("http://127.0.0.1:8000", f"http://127.0.0.1:{casino.port}"),
            ("http://127.0.0.1:8001", f"http://127.0.0.1:{casino.environment['COUNTROOM_SANDBOX_PSP_PORT']}"),
            ("data=data", f"data={casino.data}"),
        ):
            assert default in script
            script = script.replace(default, here)

        played = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=60, check=False
        )

        assert played.returncode == 0, played.stdout + played.stderr
        *_, first, repeated, wallets = _answers(played.stdout)
        assert first == repeated
        balances = {wallet["type"]: wallet["balance"] for wallet in wallets["wallets"]}
        assert balances == {"main": "53.00", "bonus": "0.00", "locked": "0.00"}
        proof = casino.check()
        assert proof.returncode == 0, proof.stdout + proof.stderr


def _answers(text: str) -> Iterator[dict[str, Any]]:
    """Read the answers that curl has printed one after the other."""
    text = text.lstrip()
    while text:
        answer, length = json.JSONDecoder().raw_decode(text)
        yield answer
        text = text[length:].lstrip()

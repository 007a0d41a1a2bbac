"""The API keeps to its own description, whatever is thrown at it: requests made from it by schemathesis."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec

from browser.window import serving
from countroom.players import staff
from countroom.postgres import Database
from countroom.settings import Settings
from countroom.warehouse import schema as warehouse_schema
from sandbox_process import PSP_SECRET, Sandbox

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
WHO = {"email": "ada@example.com", "password": "the engine weaves patterns"}


async def test_no_request_made_from_the_description_breaks_it(
    settings: Settings, sandbox: Sandbox, tmp_path: Path
) -> None:
    assert settings.database_url
    assert settings.clickhouse_url
    warehouse_schema.migrate(settings.clickhouse_url)
    database = await Database.connect(settings.database_url, size_max=1)
    found = await staff.ensure_first(database)
    await database.close()
    assert found is not None
    sandbox.start()
    psp = f"http://127.0.0.1:{sandbox.psp_port}"
    settings = msgspec.structs.replace(settings, sandbox_psp_url=psp, sandbox_psp_secret=PSP_SECRET)
    with serving(settings) as address:
        # A sign-out in the middle would turn everything after it into refusals.
        player, member = _player(address), _member(address, *found)
        # With ids made up, every statement would be another 404.
        _write_ids(address, player, tmp_path)
        _fuzz(address, player, "session|health|staff", tmp_path)
        _fuzz(address, member, "session|health|players$|players/[a-z]|deposits", tmp_path)


def _write_ids(address: str, token: str, folder: Path) -> None:
    mine = {"Authorization": f"Bearer {token}"}
    wallet = httpx.get(f"{address}/api/v1/wallets", headers=mine).json()["wallets"][0]["id"]
    player = httpx.post(f"{address}/api/v1/sign-in", json=WHO).json()["player_id"]
    ids = f'"path.player_id" = "{player}"\n"path.wallet_id" = "{wallet}"\n'
    (folder / "schemathesis.toml").write_text(f"[parameters]\n{ids}")


def _fuzz(address: str, token: str, skipped: str, folder: Path) -> None:
    told = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{address}/api/openapi.json",
            "-H", f"Authorization: Bearer {token}", "--exclude-path-regex", skipped,
            "--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-examples", "10",
            "--request-timeout", "20", "--no-color", "--seed", os.environ.get("SEED", "1"),
        ],
        cwd=folder, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-6_000:] + told.stderr


def _player(address: str) -> str:
    new = {**WHO, "country": "MT", "birth_date": "1990-12-10", "currency": "EUR"}
    assert httpx.post(f"{address}/api/v1/players", json=new).status_code == httpx.codes.CREATED
    return str(httpx.post(f"{address}/api/v1/sign-in", json=WHO).json()["token"])


def _member(address: str, email: str, password: str) -> str:
    answer = httpx.post(f"{address}/api/v1/staff/sign-in", json={"email": email, "password": password})
    return str(answer.json()["token"])

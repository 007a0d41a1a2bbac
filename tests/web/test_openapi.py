"""The API keeps to its own description, whatever is thrown at it: requests made from it by schemathesis."""

import secrets
import subprocess
import sys
from pathlib import Path

import httpx

from browser.window import serving
from countroom.players import staff
from countroom.postgres import Database
from countroom.settings import Settings
from countroom.warehouse import schema as warehouse_schema

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
PASSWORD = "the engine weaves patterns"


async def test_no_request_made_from_the_description_breaks_it(settings: Settings, tmp_path: Path) -> None:
    assert settings.database_url
    assert settings.clickhouse_url
    warehouse_schema.migrate(settings.clickhouse_url)
    database = await Database.connect(settings.database_url, size_max=1)
    found = await staff.ensure_first(database)
    await database.close()
    assert found is not None
    with serving(settings) as address:
        # A sign-out in the middle would turn everything after it into refusals.
        _fuzz(address, _player(address), "session|health|staff", tmp_path)
        _fuzz(address, _member(address, *found), "session|health|players|deposits", tmp_path)


def _fuzz(address: str, token: str, skipped: str, folder: Path) -> None:
    told = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{address}/api/openapi.json",
            "-H", f"Authorization: Bearer {token}", "--exclude-path-regex", skipped,
            "--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-examples", "10",
            "--request-timeout", "20", "--no-color",
        ],
        cwd=folder, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-6_000:] + told.stderr


def _player(address: str) -> str:
    who = {"email": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD}
    new = {**who, "country": "MT", "birth_date": "1990-12-10", "currency": "EUR"}
    assert httpx.post(f"{address}/api/v1/players", json=new).status_code == httpx.codes.CREATED
    return str(httpx.post(f"{address}/api/v1/sign-in", json=who).json()["token"])


def _member(address: str, email: str, password: str) -> str:
    answer = httpx.post(f"{address}/api/v1/staff/sign-in", json={"email": email, "password": password})
    return str(answer.json()["token"])

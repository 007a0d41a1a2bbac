"""The load of the measurements over HTTP says when it was too small to measure anything."""

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from countroom.bench.bet import CallsRanOut, ask
from countroom.settings import Settings
from serving import Served, served

__all__ = ["served"]


async def test_a_rate_is_refused_that_is_only_that_of_the_signed_calls(
    served: Served, settings: Settings, tmp_path: Path
) -> None:
    wrk = shutil.which("wrk")
    assert wrk
    calls = tmp_path / "calls"
    calls.write_bytes(b"signature\t{}\n" * 200)
    here = msgspec.structs.replace(settings, port=served.http.base_url.port)

    with pytest.raises(CallsRanOut):
        await asyncio.to_thread(
            ask, wrk, here, calls, header="X-Request-Sign", path="/providers/sandbox/betwin", seconds=3
        )

"""Signed bets over HTTP in every provider's dialect, beside those in `softswiss-v2`, on one server."""

import asyncio
import base64
import json
import os
import shutil
import statistics
import tempfile
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from rich.console import Console
from rich.table import Table

from countroom.bench.bet import CONNECTIONS, ask, served
from countroom.bench.yardstick import SIGNING_KEY, ToolMissing
from countroom.demo.signatures import request_sign
from countroom.games import service as games
from countroom.postgres import Database
from countroom.settings import Settings

PEER: Final = "softswiss-v2"
CALLS_PER_SECOND_MAX: Final = 10_000
"""So many calls are signed beforehand for each second of a web process; an RSA signature takes half a millisecond."""
_RSA: Final = partial(rsa.generate_private_key, public_exponent=65_537, key_size=2_048)


@dataclass(frozen=True, slots=True)
class Seat:
    """A player's session of a dialect's game."""

    user_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Caller:
    """How a provider of a dialect bets."""

    dialect: str
    action: str
    header: str
    bet: Callable[[Seat, str, int, str], dict[str, Any]]
    """A bet's content: seat, id (also its round), cents, game."""
    sign: Callable[[bytes], str]
    key: str
    """As the provider's row has it."""

    @property
    def code(self) -> str:
        """The provider's code and its game's slug."""
        return f"bench-{self.dialect}"


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement."""

    bets: int
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def _softswiss(seat: Seat, key: str, cents: int, game: str) -> dict[str, Any]:
    bet = {"id_provider": key, "type": "bet", "amount": f"0.{cents:02d}"}
    return {
        "account_id": seat.user_id, "currency": "EUR", "game_id": game, "round_id": key,
        "session_id": seat.session_id, "transactions": [bet],
    }  # fmt: skip


def _swipegames(seat: Seat, key: str, cents: int, game: str) -> dict[str, Any]:
    del game
    return {
        "amount": f"0.{cents:02d}", "roundID": key, "sessionID": seat.session_id, "txID": key, "type": "regular",
    }  # fmt: skip


def _hub88(seat: Seat, key: str, cents: int, game: str) -> dict[str, Any]:
    return {
        "user": seat.user_id, "transaction_uuid": key, "supplier_transaction_id": key,
        "token": f"token-{seat.session_id}",
        "supplier_user": seat.user_id, "round": key, "round_closed": False, "request_uuid": key, "is_free": False,
        "game_code": game, "currency": "EUR", "bet": "zero", "amount": cents * 1_000, "meta": {"selection": "home"},
    }  # fmt: skip


def _gcp(seat: Seat, key: str, cents: int, game: str) -> dict[str, Any]:
    bet = {"action": "bet", "action_id": key, "amount": cents}
    return {
        "user_id": seat.user_id, "currency": "EUR", "game": f"bench:{game}", "game_id": key, "finished": False,
        "session_id": seat.session_id, "actions": [bet],
    }  # fmt: skip


def callers() -> list[Caller]:
    """Return a provider of each dialect; ``hub88`` has a key pair of its own each time."""
    private = _RSA()
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def rsa_sign(body: bytes) -> str:
        return base64.b64encode(private.sign(body, padding.PKCS1v15(), hashes.SHA256())).decode()

    hmac_sign = partial(request_sign, SIGNING_KEY)
    return [
        Caller(PEER, "betwin", "X-Request-Sign", _softswiss, hmac_sign, SIGNING_KEY),
        Caller("swipegames", "bet", "X-Request-Sign", _swipegames, hmac_sign, SIGNING_KEY),
        Caller("hub88", "transaction/bet", "X-Hub88-Signature", _hub88, rsa_sign, public.decode()),
        Caller("gcp-v1", "process", "Authorization", _gcp, lambda body: f"HMAC-SHA256 {hmac_sign(body)}", SIGNING_KEY),
    ]


def providers(*, seconds: float, rounds: int, processes: int, console: Console) -> int:
    """Measure, print the table and the JSON line; return the exit code.

    Raises:
        ToolMissing: wrk is not there.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise ToolMissing("This measurement sends its load with wrk: install it (Debian: apt-get install wrk).")
    all_callers = callers()
    found: dict[str, list[Measured]] = {caller.dialect: [] for caller in all_callers}
    with (
        tempfile.TemporaryDirectory(prefix="countroom-bench-") as folder,
        served(Path(folder), processes, prepare=lambda settings: asyncio.run(open_sessions(settings, all_callers))) as (
            settings,
            _,
        ),
    ):
        assert settings.database_url
        seats = {caller.dialect: asyncio.run(seats_of(settings.database_url, caller)) for caller in all_callers}
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}: every dialect, {seconds:g} s each", style="dim")
            first = number % len(all_callers)
            for caller in all_callers[first:] + all_callers[:first]:
                calls = Path(folder) / "calls"
                sign_calls(calls, caller, seats[caller.dialect], int(seconds * CALLS_PER_SECOND_MAX * processes))
                found[caller.dialect].append(measure(wrk, settings, caller, calls, seconds))
    return _report(found, processes, console)


def _report(found: dict[str, list[Measured]], processes: int, console: Console) -> int:
    table = Table(title=f"Signed bets over HTTP, {CONNECTIONS} connections, by dialect", box=None, pad_edge=False)
    for title in ("dialect", "bets/s", "ratio", "p50 ms", "p99 ms", "errors"):
        table.add_column(title, justify="left" if title == "dialect" else "right")
    figures: dict[str, float] = {}
    p99s: list[float] = []
    for dialect, measured in found.items():
        name = dialect.replace("-", "_")
        per_second = statistics.median(m.per_second for m in measured)
        ratio = statistics.median(m.per_second / p.per_second for m, p in zip(measured, found[PEER], strict=True))
        p50, p99 = (statistics.median(values) for values in zip(*((m.p50_ms, m.p99_ms) for m in measured), strict=True))
        errors = sum(m.errors for m in measured)
        table.add_row(dialect, f"{per_second:,.0f}", f"{ratio:.2f}", f"{p50:.1f}", f"{p99:.1f}", str(errors))
        p99s.append(p99)
        figures |= {f"{name}_ratio": round(ratio, 2)} if dialect != PEER else {}
        figures |= {f"{name}_per_s": round(per_second), f"{name}_p99_ms": round(p99, 1), f"{name}_errors": errors}
    console.print(table)
    rounds = len(found[PEER])
    print(json.dumps({"p99_ms": round(max(p99s), 1), **figures, "web_processes": processes, "rounds": rounds}))  # noqa: T201 - the line that programs read
    return 0 if not any(m.errors for measured in found.values() for m in measured) else 1


async def open_sessions(settings: Settings, openers: Sequence[Caller], *, players: int | None = None) -> None:
    """Put these providers there, each with a game that every player has a session of, or so many of the players."""
    assert settings.database_url
    assert settings.secret_key
    database = await Database.connect(settings.database_url, size_max=1)
    for caller in openers:
        await games.ensure_provider(
            database, code=caller.code, title=caller.code, dialect=caller.dialect, launch_url="http://127.0.0.1:9/",
            signing_keys=[caller.key], secret_key=settings.secret_key,
        )  # fmt: skip
        game_id = await games.ensure_game(
            database, provider_code=caller.code, slug=caller.code, title=caller.code, volatility="low", genre="slots"
        )
        async with database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO game_sessions (id, user_id, game_id, currency, token_hash, token_used_at)
                SELECT id, user_id, $1, 'EUR', sha256(convert_to('token-' || id, 'UTF8')), now()
                  FROM (SELECT gen_random_uuid() AS id, user_id FROM bench_players WHERE n <= $2) made
                """,
                game_id,
                players or 2**31 - 1,
            )
    async with database.connection() as connection:
        await connection.execute("ANALYZE game_sessions")
    await database.close()


async def seats_of(database_url: str, caller: Caller) -> list[Seat]:
    """Return the sessions of a provider's game."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT s.user_id, s.id FROM game_sessions s JOIN games g ON g.id = s.game_id WHERE g.slug = $1", caller.code
    )
    await connection.close()
    return [Seat(str(row["user_id"]), str(row["id"])) for row in rows]


async def _bets(database_url: str, caller: Caller) -> int:
    connection = await asyncpg.connect(database_url)
    count: int = await connection.fetchval("SELECT count(*) FROM transactions WHERE provider = $1", caller.code)
    await connection.close()
    return count


def sign_calls(file: Path, caller: Caller, seats: Sequence[Seat], count: int) -> None:
    """Write so many bets of a cent to a euro, each with an id and a round of its own, players in turn."""

    def call(number: int) -> bytes:
        seat = seats[(number * 7_919) % len(seats)]
        body = msgspec.json.encode(caller.bet(seat, str(uuid.uuid4()), number % 99 + 1, caller.code))
        return caller.sign(body).encode() + b"\t" + body + b"\n"

    with file.open("wb") as out, ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        out.writelines(pool.map(call, range(count), chunksize=500))


def measure(wrk: str, settings: Settings, caller: Caller, calls: Path, seconds: float) -> Measured:
    """Send calls that were signed beforehand, and count what came of them."""
    assert settings.database_url
    before = asyncio.run(_bets(settings.database_url, caller))
    path = f"/providers/{caller.code}/{caller.action}"
    told = ask(wrk, settings, calls, header=caller.header, path=path, seconds=seconds)
    # A dialect may refuse with HTTP 200: what counts is what is in the books.
    taken = asyncio.run(_bets(settings.database_url, caller)) - before
    refused = max(told["requests"] - taken, 0)
    return Measured(
        told["requests"], told["requests"] / told["seconds"], told["p50_ms"], told["p99_ms"], told["errors"] + refused
    )

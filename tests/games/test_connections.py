"""A provider's connection, byte by byte: however a call is cut, sent ahead or broken off, it is answered as ever."""

import asyncio
import hmac
import itertools
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from casino import PROVIDER_KEY, Player
from countroom.wallet.commands import Command
from serving import Served

HEALTH = b"GET /health/live HTTP/1.1\r\nhost: c\r\n\r\n"


class Got(NamedTuple):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: Any


class Line:
    """A connection to the server, with nothing between."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01 if len(pieces) > 1 else 0)

    async def answer(self) -> Got:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 15)).decode()
        first, *rest = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
        body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), 15)
        return Got(int(first.split()[1]), headers, json.loads(body))

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self.reader.read(1), 15) == b""


@asynccontextmanager
async def line(served: Served) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection(served.http.base_url.host, served.http.base_url.port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


def body_of(player: Player, key: str, amount: str = "1.00") -> bytes:
    transaction = {"id_provider": key, "type": "bet", "amount": amount}
    return json.dumps({
        "account_id": str(player.id), "currency": "EUR", "game_id": "lucky-sevens", "round_id": key,
        "transactions": [transaction],
    }).encode()  # fmt: skip


def head_of(body: bytes, *more: str, path: str = "/providers/sandbox/betwin", version: str = "1.1") -> bytes:
    signature = hmac.new(PROVIDER_KEY.encode(), body, "sha256").hexdigest()
    lines = [f"POST {path} HTTP/{version}", "Host: c", f"X-Request-SIGN: {signature}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def bet(player: Player, key: str, *more: str, path: str = "/providers/sandbox/betwin", version: str = "1.1") -> bytes:
    body = body_of(player, key)
    return head_of(body, f"Content-Length: {len(body)}", *more, path=path, version=version) + body


async def left(player: Player) -> str:
    return (await player.balances()).main


async def test_calls_sent_ahead_are_answered_in_their_order_whatever_is_between_them(served: Served) -> None:
    player = await served.casino.player(main="100.00")
    async with line(served) as one:
        await one.send(bet(player, "b1") + HEALTH + bet(player, "b2") + bet(player, "b3") + HEALTH + bet(player, "b4"))
        answers = [await one.answer() for _ in range(6)]

        assert [answer.status for answer in answers] == [200] * 6
        assert [answer.body.get("balance") for answer in answers] == ["99.00", None, "98.00", "97.00", None, "96.00"]
        await one.send(bet(player, "b5"))
        assert (await one.answer()).body["balance"] == "95.00"


@pytest.mark.parametrize("cuts", [(40,), (3, 90, 200), (-1,), (-30, -2)])
async def test_a_call_may_come_in_pieces(served: Served, cuts: Sequence[int]) -> None:
    player = await served.casino.player(main="10.00")
    whole = bet(player, "b1")
    places = [0, *(cut % len(whole) for cut in cuts), len(whole)]
    async with line(served) as one:
        await one.send(*(whole[begin:end] for begin, end in itertools.pairwise(places)))
        answer = await one.answer()

    assert (answer.status, answer.body["balance"]) == (200, "9.00")
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["date"])


async def test_unusual_calls_are_the_same_calls(served: Served) -> None:
    player = await served.casino.player(main="10.00")
    body = body_of(player, "chunked")
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with line(served) as one:
        for number, call in enumerate((
            head_of(body, "Transfer-Encoding: chunked") + chunks,
            bet(player, "encoded", path="/providers/sand%62ox/betwin"),
            bet(player, "asked", path="/providers/sandbox/betwin?x=1"),
            bet(player, "usual"),
        ), 1):  # fmt: skip
            await one.send(call)
            answer = await one.answer()
            assert (answer.status, answer.body["balance"]) == (200, f"{10 - number}.00")
        waiting = body_of(player, "waiting")
        await one.send(head_of(waiting, f"Content-Length: {len(waiting)}", "Expect: 100-continue"))
        assert await one.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await one.send(waiting)
        assert (await one.answer()).body["balance"] == "5.00"


@pytest.mark.parametrize(
    "call", [lambda player: bet(player, "b1", "Connection: close"), lambda player: bet(player, "b1", version="1.0")]
)
async def test_a_connection_for_one_call_is_closed_after_it(served: Served, call: Any) -> None:
    player = await served.casino.player(main="10.00")
    async with line(served) as one:
        await one.send(call(player))
        answer = await one.answer()

        assert (answer.status, answer.body["balance"], answer.headers["connection"]) == (200, "9.00", "close")
        assert await one.is_closed()


@pytest.mark.parametrize("length", [70_000, 200_000])
async def test_a_call_that_is_too_long_is_refused_unread(served: Served, length: int) -> None:
    body = b" " * length
    async with line(served) as one:
        await one.send(head_of(body, f"Content-Length: {length}") + body)
        answer = await one.answer()

    assert (answer.status, answer.body["meta"]["api_code"]) == (400, "400")
    assert "larger" in answer.body["msg"]


async def test_two_lengths_are_no_request(served: Served) -> None:
    player = await served.casino.player(main="10.00")
    async with line(served) as one:
        await one.send(bet(player, "b1", "Content-Length: 1"))
        assert (await one.reader.readline()).startswith(b"HTTP/1.1 400")

    assert await left(player) == "10.00"


async def test_a_caller_who_has_gone_costs_nobody_anything(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    player, other = [await served.casino.player(main="10.00") for _ in range(2)]
    held, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    batcher = served.server.config.loaded_app.callbacks.port.batcher
    submit = batcher.submit

    async def later(command: Command) -> Any:
        if command.user_id != player.id:
            return await submit(command)
        held.set()
        await go_on.wait()
        answer = await submit(command)
        done.set()
        return answer

    monkeypatch.setattr(batcher, "submit", later)
    async with line(served) as half, line(served) as gone, line(served) as stays:
        await half.send(bet(player, "never whole")[:-5])
        await gone.send(bet(player, "b1"))
        await held.wait()
        half.writer.transport.abort()
        gone.writer.transport.abort()
        await stays.send(bet(other, "b2"))
        assert (await stays.answer()).body["balance"] == "9.00"
        go_on.set()
        await asyncio.wait_for(done.wait(), 15)

    assert await left(player) == "9.00"
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


async def test_a_fault_outside_every_dialect_is_a_status_that_providers_ask_again_after(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = await served.casino.player(main="10.00")
    with monkeypatch.context() as patch:
        patch.setattr(served.recorder, "of", lambda _code: None)
        async with line(served) as one:
            await one.send(bet(player, "b1"))
            assert (await one.answer()).status == 500
    async with line(served) as one:
        await one.send(bet(player, "b1"))
        assert (await one.answer()).body["balance"] == "9.00"


async def test_a_call_under_way_is_answered_before_the_server_stops(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = await served.casino.player(main="10.00")
    held, go_on = asyncio.Event(), asyncio.Event()
    batcher = served.server.config.loaded_app.callbacks.port.batcher
    submit = batcher.submit

    async def later(command: Command) -> Any:
        held.set()
        await go_on.wait()
        return await submit(command)

    monkeypatch.setattr(batcher, "submit", later)
    async with line(served) as one, line(served) as idle:
        await one.send(bet(player, "b1"))
        await held.wait()
        served.server.should_exit = True
        assert await idle.is_closed()
        go_on.set()
        answer = await one.answer()

        assert (answer.body["balance"], answer.headers["connection"]) == ("9.00", "close")
        assert await one.is_closed()

import asyncio
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from countroom.demo.psp import Psp
from countroom.demo.psp_store import Store
from countroom.demo.webhooks import backoff_seconds
from countroom.embedded.process import free_port
from sandbox_process import PSP_SECRET, Sandbox, served


def signed(body: bytes, *, at: float | None = None, secret: str = PSP_SECRET) -> dict[str, str]:
    """Sign as the interface is described, not as the PSP's own code does it."""
    moment = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    digest.update(moment.encode())
    digest.update(b".")
    digest.update(body)
    return {"Sandbox-Signature": f"t={moment},v1={digest.hexdigest()}"}


def wish(webhook_url: str = "http://127.0.0.1:9/webhooks/sandbox", **changes: Any) -> bytes:
    return json.dumps(
        {"payment_id": "p-1", "amount": "12.50", "currency": "EUR", "webhook_url": webhook_url, **changes}
    ).encode()


async def create(client: httpx.AsyncClient, body: bytes, key: str = "key-1", **how: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key, **signed(body, **how)}
    return await client.post("/intents", content=body, headers=headers)


class Desk:
    """A PSP in the test's own process, with a count of how often it wanted to deliver."""

    def __init__(self, folder: Path, *, intents_max: int = 100_000) -> None:
        self.store = Store.open(folder / "psp.sqlite3", intents_max=intents_max)
        self.woken = 0
        psp = Psp(self.store, PSP_SECRET, "https://psp.example", wake=self._wake)
        transport = httpx.ASGITransport(psp.application())
        self.client = httpx.AsyncClient(transport=transport, base_url="http://psp")

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_an_intent_is_made_once_for_a_key_and_a_key_is_for_one_body(desk: Desk) -> None:
    first = await create(desk.client, wish())
    again = await create(desk.client, wish())
    other = await create(desk.client, wish(amount="13.00"))

    assert first.status_code == 201
    assert again.json() == first.json()
    assert first.json()["payment_url"] == f"https://psp.example/pay/{first.json()['intent_id']}"
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")


async def test_unsigned_or_wrongly_signed_wishes_are_refused(desk: Desk) -> None:
    body = wish()
    refused = [
        await desk.client.post("/intents", content=body, headers={"Idempotency-Key": "k"}),
        await create(desk.client, body, secret="another-secret-altogether"),
        await create(desk.client, body, at=time.time() - 301),
        await create(desk.client, body, at=time.time() + 301),
        await desk.client.post("/intents", content=body + b" ", headers={"Idempotency-Key": "k", **signed(body)}),
        await desk.client.post("/intents", content=body, headers=[(b"sandbox-signature", "t=²,v1=é".encode())]),
    ]

    assert {answer.status_code for answer in refused} == {401}


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 12.5}, {"amount": "-1"}, {"amount": "0.00"}, {"amount": "1e3"}, {"amount": "1.005"},
        {"currency": "eur"}, {"webhook_url": "ftp://x/y"}, {"return_url": "javascript:alert(1)"},
        {"return_url": "http://x/\r\nSet-Cookie: a=b"},
    ],
)  # fmt: skip
async def test_a_wish_that_makes_no_sense_is_refused(desk: Desk, changes: dict[str, Any]) -> None:
    answer = await create(desk.client, wish(**changes))

    assert answer.status_code == 400


async def test_a_decision_is_taken_once(desk: Desk) -> None:
    intent = (await create(desk.client, wish())).json()["intent_id"]
    approved = [await desk.client.post(f"/intents/{intent}/approve") for _ in range(2)]
    declined = await desk.client.post(f"/intents/{intent}/decline")

    assert [answer.json()["status"] for answer in approved] == ["succeeded", "succeeded"]
    assert (declined.status_code, declined.json()["error"]["code"]) == (409, "already_decided")
    assert len(desk.store.waiting(10)) == desk.woken == 1
    assert (await desk.client.post("/intents/pi_nobody/approve")).status_code == 404


async def test_the_customers_page_has_buttons_and_escapes_what_a_stranger_wrote(desk: Desk) -> None:
    body = wish(payment_id="<script>alert(1)</script>", return_url="https://casino.example/back")
    intent = (await create(desk.client, body)).json()["intent_id"]
    page = await desk.client.get(f"/pay/{intent}")
    pressed = await desk.client.post(f"/intents/{intent}/decline", headers={"Accept": "text/html"})

    assert "12.50 EUR" in page.text
    assert f"/intents/{intent}/approve" in page.text
    assert "<script>alert" not in page.text
    assert (pressed.status_code, pressed.headers["location"]) == (303, "https://casino.example/back")
    assert 'data-status="failed"' in (await desk.client.get(f"/pay/{intent}")).text


async def test_old_intents_are_forgotten_but_not_those_whose_webhook_waits(tmp_path: Path) -> None:
    desk = Desk(tmp_path, intents_max=3)
    intents = [(await create(desk.client, wish(), f"key-{number}")).json()["intent_id"] for number in range(2)]
    await desk.client.post(f"/intents/{intents[0]}/approve")
    for number in range(2, 6):
        await create(desk.client, wish(), f"key-{number}")

    assert desk.store.intent(intents[0]) is not None
    assert desk.store.intent(intents[1]) is None


def test_attempts_are_put_off_longer_each_time_up_to_a_minute() -> None:
    waits = [backoff_seconds(attempts) for attempts in range(1, 40)]

    assert waits[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(waits) == 60.0
    assert waits == sorted(waits)


class Receiver:
    """Takes webhooks; refuses as often as it was told to, and checks each signature by itself."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.events: list[dict[str, Any]] = []
        self.taken = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        header = dict(scope["headers"])[b"sandbox-signature"].decode()
        moment, _, given = header.removeprefix("t=").partition(",v1=")
        expected = hmac.new(PSP_SECRET.encode(), f"{moment}.".encode() + body, "sha256").hexdigest()
        assert given == expected
        assert abs(int(moment) - time.time()) < 30
        self.events.append(json.loads(body))
        status = 503 if len(self.events) <= self.refusals else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        if status == 200:
            self.taken.set()


async def test_a_webhook_is_repeated_until_it_is_taken_and_survives_a_killed_psp(sandbox: Sandbox) -> None:
    receiver_port = free_port()
    receiver = Receiver(refusals=2)
    body = wish(f"http://127.0.0.1:{receiver_port}/webhooks/sandbox")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{sandbox.psp_port}", trust_env=False) as client:
        await asyncio.to_thread(sandbox.start)
        intent = (await create(client, body)).json()["intent_id"]
        assert (await client.post(f"/intents/{intent}/approve")).json()["status"] == "succeeded"
        sandbox.kill()  # nobody has listened yet
        await asyncio.to_thread(sandbox.start)
        async with served(receiver, receiver_port):
            await asyncio.wait_for(receiver.taken.wait(), 15)
        again = await create(client, body)
        assert sandbox.stop() == 0

    assert again.json()["intent_id"] == intent
    assert len(receiver.events) == 3
    assert receiver.events[0] == receiver.events[1] == receiver.events[2]
    assert {key: value for key, value in receiver.events[0].items() if key != "event_id"} == {
        "type": "payment.succeeded",
        "intent_id": intent,
        "amount": "12.50",
        "currency": "EUR",
    }
    assert oct((sandbox.folder / "sandbox-psp.sqlite3").stat().st_mode)[-3:] == "600"


def test_without_its_secrets_the_sandbox_refuses_to_start(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "COUNTROOM_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "countroom.demo"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "COUNTROOM_SANDBOX_PSP_SECRET is not set: the sandbox PSP signs its webhooks with it.",
        "COUNTROOM_SANDBOX_PROVIDER_KEY needs at least 16 characters: the sandbox provider signs its calls with it.",
    ]


def test_a_used_port_is_one_sentence(sandbox: Sandbox) -> None:
    sandbox.start()
    second = subprocess.run(
        [sys.executable, "-m", "countroom.demo"],
        env=sandbox.environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert second.returncode == 1
    assert second.stderr == (
        f"Port {sandbox.psp_port} of 127.0.0.1 cannot be used by the sandbox: Address already in use.\n"
    )

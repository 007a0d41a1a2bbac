"""The API as its users meet it: addresses, fields, refusals."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import msgspec
import pytest
from litestar import Litestar

from countroom.clickhouse import connect
from countroom.demo.psp import Psp
from countroom.demo.psp_store import Store
from countroom.demo.signatures import sandbox_signature
from countroom.payments.providers.sandbox import SandboxProvider
from countroom.players import staff
from countroom.redis import balance_key
from countroom.settings import Settings
from countroom.wallet import incremental
from countroom.warehouse import schema as warehouse_schema
from countroom.web import app as web
from countroom.web.api import payments as payments_api

NEW_PLAYER = {
    "email": "ann@example.com",
    "password": "a long walk home",
    "country": "MT",
    "birth_date": "1990-01-02",
    "currency": "EUR",
}
CREDENTIALS = {"email": NEW_PLAYER["email"], "password": NEW_PLAYER["password"]}
PSP_URL = "http://psp.test"


class Api:
    """A client of the application, and the sandbox PSP beside it."""

    def __init__(self, app: Litestar, client: httpx.AsyncClient, settings: Settings, psp: Store) -> None:
        self.app = app
        self.client = client
        self.settings = settings
        self.psp = psp

    async def call(
        self, method: str, path: str, *, token: str | None = None, body: Any = None, **options: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        if body is not None:
            options["content"] = body if isinstance(body, bytes) else msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        return await self.client.request(method, path, headers=headers, **options)

    async def player(self) -> str:
        """Register and sign in; return the token."""
        assert (await self.call("POST", "/api/v1/players", body=NEW_PLAYER)).status_code == 201
        return await self.token()

    async def token(self) -> str:
        answer = await self.call("POST", "/api/v1/sign-in", body=CREDENTIALS)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    async def staff(self) -> str:
        first = await staff.ensure_first(self.app.state.database)
        assert first
        credentials = {"email": first[0], "password": first[1]}
        answer = await self.call("POST", "/api/v1/staff/sign-in", body=credentials)
        assert answer.status_code == 200, answer.text
        assert answer.json()["role"] == "admin"
        token: str = answer.json()["token"]
        return token

    async def refused(self, status: int, code: str, field: str | None, answer: httpx.Response) -> None:
        """The answer is a refusal of exactly this form."""
        assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.text
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem.get("field")) == (status, code, field), answer.text
        assert problem["status"] == status
        assert problem["type"]
        assert problem["title"]
        assert problem["detail"]

    async def count(self, table: str) -> int:
        row = await self.app.state.database.fetchrow(f"SELECT count(*) FROM {table}")
        number: int = row[0]
        return number

    async def webhook(self, body: bytes, *, at: float | None = None) -> httpx.Response:
        assert self.settings.sandbox_psp_secret
        signature = sandbox_signature(self.settings.sandbox_psp_secret, body, at=at or time.time())
        return await self.call("POST", "/webhooks/sandbox", body=body, headers={"Sandbox-Signature": signature})


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[tuple[Litestar, httpx.AsyncClient]]:
    """The application in this test's own event loop."""
    app = web.create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]  # it narrows ASGI's types
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def live() -> None:
        # One task from start to end: a fixture's two halves may run in two.
        async with app.lifespan():
            started.set_result(None)
            await over.wait()

    life = asyncio.create_task(live())
    await asyncio.wait({life, started}, return_when=asyncio.FIRST_COMPLETED)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://casino.test") as client:
            yield app, client
    finally:
        over.set()
        await life


@pytest.fixture
async def api(settings: Settings, tmp_path: Path) -> AsyncIterator[Api]:
    settings = msgspec.structs.replace(settings, data_dir=tmp_path)
    assert settings.sandbox_psp_secret
    with closing(Store.open(tmp_path / "psp.sqlite3")) as store:
        psp = Psp(store, settings.sandbox_psp_secret, PSP_URL, wake=lambda: None).application()

        def provider(url: str, secret: str | None) -> SandboxProvider:
            return SandboxProvider(url, secret, transport=httpx.ASGITransport(psp))

        with patch.object(payments_api, "SandboxProvider", provider):
            async with _serving(settings) as (app, client):
                yield Api(app, client, settings, store)


@pytest.fixture
async def cut_off(settings: Settings, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Api]:
    """The application when neither Redis nor ClickHouse can be reached."""
    settings = msgspec.structs.replace(
        settings,
        data_dir=tmp_path,
        redis_url=f"redis://127.0.0.1:{unused_tcp_port}",
        clickhouse_url=f"http://127.0.0.1:{unused_tcp_port}",
    )
    with closing(Store.open(tmp_path / "psp.sqlite3")) as store:
        async with _serving(settings) as (app, client):
            yield Api(app, client, settings, store)


async def test_a_player_registers_pays_in_and_sees_the_money(api: Api) -> None:
    answer = await api.call("POST", "/api/v1/players", body=NEW_PLAYER)
    assert answer.status_code == 201
    created = answer.json()
    assert {**created, "id": None} == {"id": None, "email": NEW_PLAYER["email"], "country": "MT", "currency": "EUR"}
    answer = await api.call("POST", "/api/v1/sign-in", body=CREDENTIALS)
    assert answer.json()["player_id"] == created["id"]
    assert answer.headers["Cache-Control"] == "no-store"
    token = answer.json()["token"]

    answer = await api.call(
        "POST", "/api/v1/deposits", token=token, body={"amount": "12.5", "currency": "EUR", "method": "sandbox"}
    )
    assert answer.status_code == 201, answer.text
    payment = answer.json()
    assert (payment["status"], payment["amount"], payment["currency"]) == ("processing", "12.50", "EUR")
    assert payment["payment_url"] == f"{PSP_URL}/pay/{payment['payment_intent_id']}"

    event = msgspec.json.encode(
        {
            "event_id": "evt_1",
            "type": "payment.succeeded",
            "intent_id": payment["payment_intent_id"],
            "amount": "12.50",
            "currency": "EUR",
        }
    )
    answers = await asyncio.gather(*(api.webhook(event) for _ in range(20)))
    assert sorted(answer.json()["outcome"] for answer in answers) == ["credited"] + ["repeated"] * 19
    assert {answer.status_code for answer in answers} == {200}

    wallets = (await api.call("GET", "/api/v1/wallets", token=token)).json()["wallets"]
    assert {wallet["type"]: wallet["balance"] for wallet in wallets} == {
        "main": "12.50",
        "bonus": "0.00",
        "locked": "0.00",
    }
    answer = await api.call("GET", "/api/v1/transactions", token=token)
    (transaction,) = answer.json()["transactions"]
    assert answer.json()["next"] is None
    assert transaction["amount"] == "12.50"
    assert transaction["external_id"] == f"sandbox:{payment['id']}"
    assert (transaction["type"], transaction["status"], transaction["wallet_type"]) == ("deposit", "success", "main")


async def test_a_deposit_is_shown_at_once_though_an_older_balance_was_cached(api: Api) -> None:
    token = await api.player()
    wish = {"amount": "12.50", "currency": "EUR", "method": "sandbox"}
    intent = (await api.call("POST", "/api/v1/deposits", token=token, body=wish)).json()["payment_intent_id"]
    wallet = (await api.call("GET", "/api/v1/wallets", token=token)).json()["wallets"][0]
    async with asyncio.timeout(10):
        while await api.app.state.redis.get(balance_key(wallet["id"])) != "0:0.00":  # noqa: ASYNC110 - written behind us
            await asyncio.sleep(0.01)

    event = {
        "event_id": "evt_1", "type": "payment.succeeded", "intent_id": intent, "amount": "12.50", "currency": "EUR",
    }  # fmt: skip
    assert (await api.webhook(msgspec.json.encode(event))).json()["outcome"] == "credited"

    wallet = (await api.call("GET", "/api/v1/wallets", token=token)).json()["wallets"][0]
    assert (wallet["type"], wallet["balance"]) == ("main", "12.50")


async def test_transactions_come_in_pages(api: Api) -> None:
    token = await api.player()
    for number in range(3):
        wish = {"amount": f"{number + 1}", "currency": "EUR", "method": "sandbox"}
        payment = (await api.call("POST", "/api/v1/deposits", token=token, body=wish)).json()
        event = {"event_id": f"evt_{number}", "type": "payment.succeeded", "currency": "EUR"}
        event |= {"intent_id": payment["payment_intent_id"], "amount": payment["amount"]}
        assert (await api.webhook(msgspec.json.encode(event))).json() == {"outcome": "credited"}

    first = (await api.call("GET", "/api/v1/transactions?limit=2", token=token)).json()
    second = (await api.call("GET", f"/api/v1/transactions?limit=2&before={first['next']}", token=token)).json()

    amounts = [transaction["amount"] for page in (first, second) for transaction in page["transactions"]]
    assert amounts == ["3.00", "2.00", "1.00"]
    assert second["next"] is None
    for query, field in (("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("before=1", "before")):
        answer = await api.call("GET", f"/api/v1/transactions?{query}", token=token)
        await api.refused(400, "invalid_request", field, answer)


BAD_PLAYERS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"email": "ann"}, 400, "invalid_email", "email"),
    ({"email": 5}, 400, "invalid_request", "email"),
    ({"email": "zero\x00byte@example.com"}, 400, "invalid_email", "email"),
    ({"password": "short"}, 400, "password_too_weak", "password"),
    ({"password": "x1" * 65}, 400, "password_too_long", "password"),
    ({"country": "Malta"}, 400, "unknown_country", "country"),
    ({"birth_date": "2020-01-01"}, 403, "under_age", "birth_date"),
    ({"birth_date": "01/02/1990"}, 400, "invalid_request", "birth_date"),
    ({"birth_date": "1990-02-30"}, 400, "invalid_request", "birth_date"),
    ({"birth_date": None}, 400, "invalid_request", "birth_date"),
    ({"currency": "XXX"}, 400, "unknown_currency", "currency"),
]


async def test_a_bad_registration_names_its_fault_and_leaves_nothing(api: Api) -> None:
    for changes, status, code, field in BAD_PLAYERS:
        answer = await api.call("POST", "/api/v1/players", body=NEW_PLAYER | changes)
        await api.refused(status, code, field, answer)
    missing = {name: value for name, value in NEW_PLAYER.items() if name != "country"}
    answer = await api.call("POST", "/api/v1/players", body=missing)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert "`country`" in answer.json()["detail"]
    for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"email":"\\ud800"}', b"[" * 5000):
        answer = await api.call("POST", "/api/v1/players", body=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), (body[:20], answer.text)

    assert await api.count("users") == 0
    await api.player()
    again = await api.call("POST", "/api/v1/players", body=NEW_PLAYER | {"email": "ANN@example.com"})
    await api.refused(409, "email_taken", "email", again)
    assert await api.count("users") == 1


BAD_DEPOSITS: list[tuple[dict[str, Any], str, str]] = [
    ({"amount": 12.5}, "invalid_amount", "amount"),
    ({"amount": 12}, "invalid_amount", "amount"),
    ({"amount": None}, "invalid_amount", "amount"),
    ({"amount": ["12"]}, "invalid_amount", "amount"),
    ({"amount": "1e2"}, "invalid_amount", "amount"),
    ({"amount": "-12"}, "invalid_amount", "amount"),
    ({"amount": "12.505"}, "invalid_amount", "amount"),
    ({"amount": "0"}, "amount_out_of_bounds", "amount"),
    ({"amount": "100000.01"}, "amount_out_of_bounds", "amount"),
    ({"currency": "USD"}, "no_wallet_in_currency", "currency"),
    ({"currency": "KWD"}, "unknown_currency", "currency"),
    ({"currency": 978}, "invalid_request", "currency"),
    ({"method": "cash"}, "invalid_request", "method"),
]


async def test_a_bad_deposit_names_its_fault_and_moves_nothing(api: Api) -> None:
    token = await api.player()
    good = {"amount": "12.50", "currency": "EUR", "method": "sandbox"}

    for changes, code, field in BAD_DEPOSITS:
        answer = await api.call("POST", "/api/v1/deposits", token=token, body=good | changes)
        await api.refused(400, code, field, answer)
    await api.refused(401, "not_signed_in", None, await api.call("POST", "/api/v1/deposits", body=good))

    assert await api.count("payments") == 0


async def test_a_deposit_is_repeated_by_its_key(api: Api) -> None:
    token = await api.player()
    wish = {"amount": "12.50", "currency": "EUR", "method": "sandbox"}
    key = {"Idempotency-Key": "one wish"}

    answers = [await api.call("POST", "/api/v1/deposits", token=token, body=wish, headers=key) for _ in range(3)]

    assert len({answer.content for answer in answers}) == 1
    other = await api.call("POST", "/api/v1/deposits", token=token, body=wish | {"amount": "13"}, headers=key)
    await api.refused(409, "idempotency_key_reused", None, other)
    assert await api.count("payments") == 1


async def test_nobody_unsigned_credits_money(api: Api) -> None:
    body = b'{"event_id":"evt_1","type":"payment.succeeded"}'

    await api.refused(401, "invalid_signature", None, await api.call("POST", "/webhooks/sandbox", body=body))
    await api.refused(401, "invalid_signature", None, await api.webhook(body, at=time.time() - 310))
    too_large = await api.webhook(b" " * (64 * 1024 + 1))
    await api.refused(413, "too_large", None, too_large)

    assert await api.count("payment_events") == 0
    assert (await api.webhook(body)).json() == {"outcome": "review"}


async def test_signing_in_is_refused_alike_for_unknown_and_wrong(api: Api) -> None:
    await api.player()

    wrong = await api.call("POST", "/api/v1/sign-in", body=CREDENTIALS | {"password": "not the password"})
    unknown = await api.call("POST", "/api/v1/sign-in", body=CREDENTIALS | {"email": "nobody@example.com"})

    await api.refused(401, "wrong_credentials", None, wrong)
    assert wrong.content == unknown.content
    for _ in range(9):
        answer = await api.call("POST", "/api/v1/sign-in", body=CREDENTIALS | {"password": "not the password"})
    answer = await api.call("POST", "/api/v1/sign-in", body=CREDENTIALS)
    await api.refused(429, "too_many_attempts", None, answer)
    assert 0 < int(answer.headers["Retry-After"]) <= 300


async def test_a_session_ends_when_it_is_told_to(api: Api) -> None:
    token = await api.player()
    assert (await api.call("GET", "/api/v1/wallets", token=token)).status_code == 200

    assert (await api.call("DELETE", "/api/v1/session", token=token)).status_code == 204

    answer = await api.call("GET", "/api/v1/wallets", token=token)
    await api.refused(401, "not_signed_in", None, answer)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    await api.refused(401, "not_signed_in", None, await api.call("DELETE", "/api/v1/session"))
    for header in ("", "Bearer", "Bearer ", f"Basic {token}", "Bearer " + "x" * 5000):
        answer = await api.call("GET", "/api/v1/wallets", headers={"Authorization": header})
        await api.refused(401, "not_signed_in", None, answer)


async def test_the_mailed_code_confirms_the_address(api: Api) -> None:
    token = await api.player()
    (mail,) = (api.settings.data_dir / "outbox").glob("*.eml")
    code = mail.read_text().partition("code is ")[2][:6]
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"

    answer = await api.call("POST", "/api/v1/players/confirm-email", token=token, body={"code": wrong})
    await api.refused(400, "wrong_code", "code", answer)
    answer = await api.call("POST", "/api/v1/players/confirm-email", token=token, body={"code": code})
    assert answer.status_code == 204
    answer = await api.call("POST", "/api/v1/players/email-code", token=token)
    await api.refused(409, "email_already_confirmed", None, answer)


async def test_staff_see_the_figures_and_players_do_not(api: Api) -> None:
    assert api.settings.clickhouse_url
    await asyncio.to_thread(warehouse_schema.migrate, api.settings.clickhouse_url)
    await asyncio.to_thread(_add_days, api.settings.clickhouse_url)
    player, member = await api.player(), await api.staff()

    answer = await api.call("GET", "/api/v1/kpi/daily?from=2026-11-01&to=2026-11-02", token=member)

    days = answer.json()["days"]
    assert [day.pop("computed_at") is not None for day in days] == [True, True]
    assert days == [
        {
            "date": "2026-11-01", "currency": "EUR", "active_users": 2, "gross_gaming_revenue": "-5.25",
            "deposits_sum": "1000000000000.01", "withdrawals_sum": "0.00", "conversion_rate": "0.250000",
            "first_depositors": 1, "registrations": 4,
        },
        {
            "date": "2026-11-02", "currency": "EUR", "active_users": 0, "gross_gaming_revenue": "0.00",
            "deposits_sum": "0.00", "withdrawals_sum": "0.00", "conversion_rate": None,
            "first_depositors": 0, "registrations": 0,
        },
    ]  # fmt: skip
    for path in ("/api/v1/kpi/daily", "/api/v1/checks"):
        assert (await api.call("GET", path, token=member)).status_code == 200
        await api.refused(401, "not_signed_in", None, await api.call("GET", path, token=player))
        await api.refused(401, "not_signed_in", None, await api.call("GET", path))
    for query in ("from=2026-11-02&to=2026-11-01", "from=2020-01-01&to=2026-01-01", "from=0001-01-01", "to=0001-01-01"):
        answer = await api.call("GET", f"/api/v1/kpi/daily?{query}", token=member)
        assert answer.status_code == (200 if query.startswith("to") else 400), (query, answer.text)
    for name, day in (("from", "yesterday"), ("to", "2026-02-30"), ("to", ""), ("from", "20260101")):
        answer = await api.call("GET", f"/api/v1/kpi/daily?{name}={day}", token=member)
        await api.refused(400, "invalid_date", name, answer)


def _add_days(clickhouse_url: str) -> None:
    with closing(connect(clickhouse_url)) as client:
        client.command(
            """
            INSERT INTO daily_kpi (date, active_users, gross_gaming_revenue, deposits_sum, withdrawals_sum,
                                   conversion_rate, first_depositors, registrations, currency, _version) VALUES
                ('2026-11-01', 1, 1, 1, 1, NULL, 0, 0, 'EUR', 1),
                ('2026-11-01', 2, -5.25, '1000000000000.01', 0, 0.25, 1, 4, 'EUR', 2),
                ('2026-11-02', 0, 0, 0, 0, NULL, 0, 0, 'EUR', 1)
            """
        )


async def test_the_last_proof_of_each_promise_is_shown(api: Api) -> None:
    member = await api.staff()
    await _prove(api)

    checks = (await api.call("GET", "/api/v1/checks", token=member)).json()["checks"]

    shown = "promise", "holds", "compared", "violations", "scope", "seconds", "waiting"
    assert [tuple(check[name] for name in shown) for check in checks] == [
        ("P1", True, 5, [], "incremental", 0.5, 7000),
        ("P2", False, 9, ["bet 1", "bet 2"], "full", None, 0),
    ]


async def test_the_metrics_say_which_promises_hold_whichever_process_is_asked(api: Api) -> None:
    await _prove(api)

    lines = (await api.call("GET", "/metrics")).text.splitlines()

    assert {line for line in lines if line.startswith(("countroom_promise_holds", "countroom_promise_violations"))} == {
        'countroom_promise_holds{promise="P1",scope="full"} 0.0',
        'countroom_promise_holds{promise="P1",scope="incremental"} 1.0',
        'countroom_promise_holds{promise="P2",scope="full"} 0.0',
        'countroom_promise_violations{promise="P1"} 0.0',
        'countroom_promise_violations{promise="P2"} 2.0',
    }
    (checked,) = [
        line for line in lines if line.startswith('countroom_promise_checked_timestamp_seconds{promise="P1"}')
    ]
    assert abs(float(checked.split()[-1]) - time.time()) < 60
    assert "countroom_books_waiting_entries 7000.0" in lines
    assert any(line.startswith("python_info") for line in lines)
    assert 'countroom_pipeline_up{role="load"} 0.0' in lines
    assert 'countroom_dead_letters_open{topic="transactions"} 0.0' in lines


async def test_a_violation_turns_its_metric_to_zero(api: Api) -> None:
    database = api.app.state.database
    await api.player()
    await incremental.prove(database)
    await database.pool.execute("UPDATE wallet_accounts SET balance = 1 WHERE type = 'main'")
    await incremental.prove(database)

    lines = (await api.call("GET", "/metrics")).text.splitlines()

    assert 'countroom_promise_holds{promise="P1",scope="incremental"} 0.0' in lines
    assert 'countroom_promise_holds{promise="P3",scope="incremental"} 1.0' in lines


async def _prove(api: Api) -> None:
    await api.app.state.database.pool.execute(
        """
        INSERT INTO proofs (id, promise, holds, compared, violations, scope, seconds, waiting, checked_at) VALUES
            (gen_random_uuid(), 'P1', false, 3, '["wallet 7"]', 'full', 3, 0, now() - interval '1 minute'),
            (gen_random_uuid(), 'P1', true, 5, '[]', 'incremental', 0.5, 7000, now()),
            (gen_random_uuid(), 'P2', false, 9, '["bet 1", "bet 2"]', 'full', NULL, 0, now())
        """
    )


async def test_the_staffs_cookie_reads_and_no_other_site_can_use_it(api: Api) -> None:
    member = await api.staff()

    answer = await api.call("GET", "/api/v1/checks", headers={"Cookie": f"countroom_staff={member}"})

    assert answer.status_code == 200
    player = await api.player()
    answer = await api.call("GET", "/api/v1/checks", headers={"Cookie": f"countroom_staff={player}"})
    await api.refused(401, "not_signed_in", None, answer)


async def test_without_redis_and_clickhouse_accounts_open_and_the_rest_says_later(cut_off: Api) -> None:
    answer = await cut_off.call("POST", "/api/v1/players", body=NEW_PLAYER)
    assert answer.status_code == 201

    for method, path, body in (
        ("POST", "/api/v1/sign-in", CREDENTIALS),
        ("POST", "/api/v1/staff/sign-in", CREDENTIALS),
        ("GET", "/api/v1/wallets", None),
        ("DELETE", "/api/v1/session", None),
        ("GET", "/api/v1/checks", None),
    ):
        answer = await cut_off.call(method, path, body=body, token="x" * 43)
        await cut_off.refused(503, "sessions_unavailable", None, answer)


async def test_the_description_names_every_address_and_its_refusals(api: Api) -> None:
    description = (await api.call("GET", "/api/openapi.json")).json()

    assert description["openapi"].startswith("3.1")
    for path, method in (
        ("/api/v1/players", "post"), ("/api/v1/sign-in", "post"), ("/api/v1/session", "delete"),
        ("/api/v1/wallets", "get"), ("/api/v1/transactions", "get"), ("/api/v1/deposits", "post"),
        ("/api/v1/kpi/daily", "get"), ("/api/v1/checks", "get"), ("/webhooks/sandbox", "post"),
    ):  # fmt: skip
        operation = description["paths"][path][method]
        assert operation["summary"]
        assert operation["description"]
        refusals = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        assert refusals
        assert all("application/problem+json" in answer["content"] for answer in refusals.values())
    schemas = description["components"]["schemas"]
    (deposit,) = [schema for name, schema in schemas.items() if name.endswith("NewDeposit")]
    assert deposit["properties"]["amount"]["type"] == "string"

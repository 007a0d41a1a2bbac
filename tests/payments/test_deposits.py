"""Paying in, with a payment provider that can be slow, wrong or doubled."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from countroom import clock
from countroom.clock import new_id
from countroom.payments import queries, service
from countroom.payments.providers import sandbox
from countroom.payments.providers.sandbox import SandboxProvider
from countroom.payments.rules import Payment, Verdict
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.wallet.service import open_wallets, wallets_of

SECRET = "whsec-0123456789abcdef"
WEBHOOKS = "http://127.0.0.1:8000/webhooks/sandbox"
URL = "http://psp.test"

Answer = Callable[[httpx.Request], httpx.Response]


class Psp:
    """A payment provider behind httpx: it answers by idempotency key, or as a test says."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.intents: dict[str, str] = {}
        self.answers: list[Answer] = []
        self.provider = SandboxProvider(URL, SECRET, transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        intent_id = self.intents.setdefault(request.headers["Idempotency-Key"], f"pi_{uuid4().hex}")
        if self.answers:
            return self.answers.pop(0)(request)
        return httpx.Response(201, json={"intent_id": intent_id, "payment_url": f"{URL}/pay/{intent_id}"})


def lost(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no answer", request=request)


def status(number: int) -> Answer:
    return lambda _: httpx.Response(number, json={})


class Cashier:
    def __init__(self, database: Database, psp: Psp, user_id: UUID) -> None:
        self.database = database
        self.psp = psp
        self.user_id = user_id

    async def deposit(self, amount: str = "12.50", currency: str = "EUR", key: str | None = None) -> Payment:
        return await service.start_deposit(
            self.database,
            self.psp.provider,
            user_id=self.user_id,
            amount=amount,
            currency=currency,
            webhook_url=WEBHOOKS,
            idempotency_key=key,
        )

    async def event(self, payment: Payment, kind: str = "succeeded", **changes: str | None) -> Verdict:
        facts = {
            "event_id": f"evt_{uuid4().hex}",
            "type": f"payment.{kind}",
            "intent_id": payment.payment_intent_id,
            "amount": str(payment.amount),
            "currency": payment.currency,
        }
        return await self.webhook(msgspec.json.encode(facts | changes))

    async def webhook(self, body: bytes) -> Verdict:
        signature = sandbox.sign(SECRET, body, at=int(time.time()))
        return await service.receive_webhook(self.database, secret=SECRET, signature=signature, body=body)

    async def balance(self) -> Decimal:
        (wallet,) = [w for w in await wallets_of(self.database, self.user_id) if w.type == "main"]
        return wallet.balance

    async def value(self, statement: str, *arguments: object) -> object:
        row = await self.database.fetchrow(statement, *arguments)
        return row[0] if row else None

    async def status_of(self, payment_id: UUID) -> object:
        return await self.value("SELECT status FROM payments WHERE id = $1", payment_id)

    async def kept(self) -> list[tuple[str, str | None]]:
        rows = await self.database.fetch("SELECT outcome, reason FROM payment_events ORDER BY id")
        return [(row["outcome"], row["reason"]) for row in rows]


@pytest.fixture
async def cashier(database_url: str) -> AsyncIterator[Cashier]:
    database = await Database.connect(database_url)
    user_id = new_id()
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO users (id, email) VALUES ($1, 'ann@example.com')", user_id)
        await open_wallets(tx, user_id, "EUR")
    yield Cashier(database, Psp(), user_id)
    await database.close()


async def test_a_deposit_is_noted_asked_for_and_credited_when_paid(cashier: Cashier) -> None:
    payment = await cashier.deposit()

    assert (payment.status, payment.payment_url) == ("processing", f"{URL}/pay/{payment.payment_intent_id}")
    assert await cashier.balance() == 0
    assert await cashier.event(payment) == Verdict("credited")
    assert await cashier.balance() == Decimal("12.50")
    assert await cashier.status_of(payment.id) == "success"
    row = await cashier.database.fetchrow("SELECT external_id, type, status, payment_id, provider FROM transactions")
    assert row is not None
    assert tuple(row) == (f"sandbox:{payment.id}", "deposit", "success", payment.id, "sandbox")
    assert await cashier.kept() == [("credited", None)]


async def test_what_goes_to_the_provider_is_signed_and_keyed(cashier: Cashier) -> None:
    payment = await cashier.deposit()

    (request,) = cashier.psp.requests
    assert request.url == f"{URL}/intents"
    assert request.headers["Idempotency-Key"] == str(payment.id)
    body = msgspec.json.decode(request.content)
    assert body == {"payment_id": str(payment.id), "amount": "12.50", "currency": "EUR", "webhook_url": WEBHOOKS}
    sandbox.verify(SECRET, request.headers["Sandbox-Signature"], request.content, now=clock.now())


async def test_no_transaction_is_open_while_the_provider_is_called(cashier: Cashier) -> None:
    with pytest.raises(AssertionError):
        async with cashier.database.transaction():
            await cashier.deposit()

    assert cashier.psp.requests == []


async def test_twenty_equal_webhooks_at_once_credit_once(cashier: Cashier) -> None:
    payment = await cashier.deposit()
    verdicts = await asyncio.gather(*(cashier.event(payment, event_id="evt_same") for _ in range(20)))

    assert sorted(verdict.outcome for verdict in verdicts) == ["credited"] + ["repeated"] * 19
    assert await cashier.balance() == Decimal("12.50")
    assert await cashier.kept() == [("credited", None)]


async def test_ten_events_for_one_payment_at_once_credit_once(cashier: Cashier) -> None:
    payment = await cashier.deposit()
    verdicts = await asyncio.gather(*(cashier.event(payment) for _ in range(10)))

    assert sorted(verdict.outcome for verdict in verdicts) == ["credited"] + ["repeated"] * 9
    assert await cashier.balance() == Decimal("12.50")
    assert len(await cashier.kept()) == 10


async def test_of_success_and_failure_at_once_one_holds_and_the_other_is_kept(cashier: Cashier) -> None:
    payment = await cashier.deposit()

    verdicts = await asyncio.gather(cashier.event(payment), cashier.event(payment, "failed"))

    outcomes = {verdict.outcome for verdict in verdicts}
    assert outcomes in ({"credited", "review"}, {"failed", "review"})
    assert await cashier.balance() == (Decimal("12.50") if "credited" in outcomes else 0)
    assert await cashier.status_of(payment.id) == ("success" if "credited" in outcomes else "failed")


async def test_a_failed_payment_credits_nothing_and_stays_failed(cashier: Cashier) -> None:
    payment = await cashier.deposit()

    assert await cashier.event(payment, "failed") == Verdict("failed")
    assert await cashier.event(payment) == Verdict("review", "succeeded_after_failed")
    assert await cashier.balance() == 0
    assert await cashier.status_of(payment.id) == "failed"


async def test_a_failure_after_success_is_kept_and_takes_nothing(cashier: Cashier) -> None:
    payment = await cashier.deposit()
    await cashier.event(payment)

    assert await cashier.event(payment, "failed") == Verdict("review", "failed_after_succeeded")
    assert await cashier.balance() == Decimal("12.50")
    assert await cashier.status_of(payment.id) == "success"


async def test_what_cannot_be_believed_or_understood_is_kept_and_moves_nothing(cashier: Cashier) -> None:
    payment = await cashier.deposit()

    assert await cashier.event(payment, amount="1250.00") == Verdict("review", "other_amount")
    assert await cashier.event(payment, currency="USD") == Verdict("review", "other_amount")
    assert await cashier.event(payment, intent_id="pi_never_heard_of") == Verdict("review", "unknown_intent")
    assert await cashier.event(payment, intent_id=None) == Verdict("review", "unknown_intent")
    assert await cashier.event(payment, "disputed") == Verdict("ignored", "unknown_type")
    for body in (b"", b"not json", b"[]", b'{"event_id":5,"type":"payment.succeeded"}', b"\xff\x00", b'{"x":' * 5000):
        assert await cashier.webhook(body) == Verdict("review", "malformed")
        assert await cashier.webhook(body) == Verdict("repeated")

    assert len(await cashier.kept()) == 11
    assert await cashier.balance() == 0
    assert await cashier.status_of(payment.id) == "processing"
    assert await cashier.event(payment) == Verdict("credited")


async def test_an_event_that_comes_again_with_other_content_is_refused(cashier: Cashier) -> None:
    first, second = await cashier.deposit(), await cashier.deposit()
    await cashier.event(first, event_id="evt_same")

    with pytest.raises(service.EventReused):
        await cashier.event(second, event_id="evt_same")

    assert await cashier.balance() == Decimal("12.50")
    assert await cashier.status_of(second.id) == "processing"


@pytest.mark.parametrize(("secret", "header"), [(None, None), (SECRET, None), (SECRET, "t=1,v1=00")])
async def test_nothing_is_read_before_the_signature_holds(secret: str | None, header: str | None) -> None:
    class NoDatabase:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"the database was asked for {name}")

    with pytest.raises((sandbox.InvalidSignature, sandbox.ProviderSecretMissing)):
        await service.receive_webhook(NoDatabase(), secret=secret, signature=header, body=b"{}")  # type: ignore[arg-type]


async def test_a_crash_before_the_commit_leaves_the_event_to_be_sent_again(
    cashier: Cashier, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await cashier.deposit()

    async def crash(*_: object, **__: object) -> None:
        raise OSError("the connection is gone")

    with monkeypatch.context() as patch:
        patch.setattr(queries, "conclude_event", crash)
        with pytest.raises(OSError, match="gone"):
            await cashier.event(payment, event_id="evt_1")

    assert await cashier.balance() == 0
    assert await cashier.event(payment, event_id="evt_1") == Verdict("credited")


async def test_one_lost_answer_is_asked_for_again_under_the_same_key(cashier: Cashier) -> None:
    cashier.psp.answers = [lost]

    payment = await cashier.deposit()

    first, second = cashier.psp.requests
    assert first.content == second.content
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] == str(payment.id)
    assert len(cashier.psp.intents) == 1


async def test_an_unknown_outcome_stays_pending_until_the_player_repeats_it(cashier: Cashier) -> None:
    for number, answer in enumerate((lost, status(500), status(503), status(201), status(302), status(429)), 1):
        cashier.psp.answers = [answer, answer]
        with pytest.raises(sandbox.PaymentProviderUnavailable):
            await cashier.deposit(key=f"wish {number}")
        assert await cashier.value("SELECT count(*) FROM payments WHERE status = 'pending'") == 1

        cashier.psp.answers = []
        payment = await cashier.deposit(key=f"wish {number}")
        assert payment.status == "processing"
        assert await cashier.value("SELECT count(*) FROM payments") == number
        assert len(cashier.psp.intents) == number


async def test_a_clear_no_fails_the_payment(cashier: Cashier) -> None:
    cashier.psp.answers = [status(400)]

    for _ in range(2):
        with pytest.raises(sandbox.PaymentProviderRefused):
            await cashier.deposit(key="mine")

    assert await cashier.value("SELECT status FROM payments") == "failed"
    assert len(cashier.psp.requests) == 1


async def test_a_deposit_repeated_ten_times_at_once_is_one_payment(cashier: Cashier) -> None:
    payments = await asyncio.gather(*(cashier.deposit(key="mine") for _ in range(10)))

    assert len({(payment.id, payment.payment_intent_id, payment.payment_url) for payment in payments}) == 1
    assert await cashier.deposit(key="other") != payments[0]
    await cashier.event(payments[0])
    assert (await cashier.deposit(key="mine")).status == "success"
    assert await cashier.balance() == Decimal("12.50")


async def test_a_key_used_for_another_amount_is_refused(cashier: Cashier) -> None:
    await cashier.deposit(key="mine")

    with pytest.raises(service.IdempotencyKeyReused):
        await cashier.deposit("12.51", key="mine")

    assert await cashier.value("SELECT count(*) FROM payments") == 1


BAD_WISHES = [
    ("0", "EUR", "amount_out_of_bounds", "amount"),
    ("0.99", "EUR", "amount_out_of_bounds", "amount"),
    ("100000.01", "EUR", "amount_out_of_bounds", "amount"),
    ("-5", "EUR", "invalid_amount", "amount"),
    ("1e3", "EUR", "invalid_amount", "amount"),
    ("5.001", "EUR", "invalid_amount", "amount"),
    (" 5", "EUR", "invalid_amount", "amount"),
    ("\N{ARABIC-INDIC DIGIT FIVE}", "EUR", "invalid_amount", "amount"),
    ("NaN", "EUR", "invalid_amount", "amount"),
    ("10000000000000000000000", "EUR", "invalid_amount", "amount"),
    ("5", "USD", "no_wallet_in_currency", "currency"),
    ("5", "KWD", "unknown_currency", "currency"),
    ("5", "eur", "unknown_currency", "currency"),
    ("5", "", "unknown_currency", "currency"),
]


async def test_a_bad_wish_is_refused_and_nothing_is_noted(cashier: Cashier) -> None:
    for amount, currency, code, field in BAD_WISHES:
        with pytest.raises(Refusal) as refused:
            await cashier.deposit(amount, currency)
        assert (refused.value.kind, refused.value.code, refused.value.field) == ("invalid", code, field)

    assert cashier.psp.requests == []
    assert await cashier.value("SELECT count(*) FROM payments") == 0


async def test_without_a_secret_nothing_is_noted(cashier: Cashier) -> None:
    cashier.psp.provider = SandboxProvider(URL, None)

    with pytest.raises(sandbox.ProviderSecretMissing):
        await cashier.deposit()

    assert await cashier.value("SELECT count(*) FROM payments") == 0


async def test_what_the_wallet_cannot_hold_waits_for_a_person(cashier: Cashier) -> None:
    payment = await cashier.deposit()
    await cashier.database.pool.execute("UPDATE wallet_accounts SET balance = 9999999999999999.99 WHERE type = 'main'")

    verdict = await cashier.event(payment)

    assert verdict.outcome == "review"
    assert await cashier.kept() == [("review", verdict.reason)]
    assert await cashier.status_of(payment.id) == "processing"
    assert await cashier.value("SELECT count(*) FROM transactions") == 0

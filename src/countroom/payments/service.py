"""Deposits: asking a provider to collect money, and crediting what its webhooks report."""

import hashlib
import uuid
from typing import Final
from uuid import UUID

import structlog

from countroom.clock import Clock, new_id
from countroom.clock import now as system_clock
from countroom.money import Money
from countroom.payments import queries, rules
from countroom.payments.providers import sandbox
from countroom.payments.rules import Payment, Verdict
from countroom.postgres import Database, Transaction, transaction_is_open
from countroom.refusal import Refusal
from countroom.wallet.service import post_deposit, wallets_of

_log: Final = structlog.get_logger()
_KEYS: Final = uuid.UUID("5a9bb0f2-3f0c-5d8e-9a55-7b5f0f0f9d11")
"""The namespace in which a player's idempotency key names a payment."""


class NoWalletInCurrency(Refusal):
    """The player has no wallet in this currency."""

    kind = "invalid"
    code = "no_wallet_in_currency"


class IdempotencyKeyReused(Refusal):
    """This Idempotency-Key came before with another amount or currency."""

    kind = "conflict"
    code = "idempotency_key_reused"


class EventReused(Refusal):
    """This event came before with other content."""

    kind = "conflict"
    code = "event_reused"


async def start_deposit(
    database: Database,
    provider: sandbox.SandboxProvider,
    *,
    user_id: UUID,
    amount: str,
    currency: str,
    webhook_url: str,
    idempotency_key: str | None = None,
    return_url: str | None = None,
    clock: Clock = system_clock,
) -> Payment:
    """Note a player's wish to pay in, then ask the provider to collect it, and note where it is paid.

    With the player's idempotency key, repeating the request gives the same payment again, and
    asks the provider again if its answer is still unknown.

    Raises:
        InvalidAmount, UnknownCurrency, AmountOutOfBounds, NoWalletInCurrency: nothing is noted.
        IdempotencyKeyReused: the key belongs to another payment.
        ProviderSecretMissing: the provider is not set up; nothing is noted.
        PaymentProviderUnavailable: its answer is unknown; the payment stays pending.
        PaymentProviderRefused: the payment has failed.
    """
    assert not transaction_is_open()
    money = Money.parse(amount, currency)
    rules.check_deposit(money)
    provider.check_set_up()
    wallets = await wallets_of(database, user_id)
    if not any(wallet.currency == currency and wallet.type == "main" for wallet in wallets):
        raise NoWalletInCurrency(field="currency")
    payment_id = uuid.uuid5(_KEYS, f"{user_id}/{idempotency_key}") if idempotency_key is not None else new_id()
    payment = await _note_wish(database, payment_id=payment_id, user_id=user_id, money=money, clock=clock)
    if payment.payment_intent_id is not None:
        return payment
    if payment.status == "failed":
        raise sandbox.PaymentProviderRefused
    try:
        intent = await provider.create_intent(
            payment_id=payment_id, money=money, webhook_url=webhook_url, return_url=return_url, now=clock()
        )
    except sandbox.PaymentProviderRefused:
        async with database.transaction() as tx:
            await queries.set_status(tx, payment_id=payment_id, status="failed", now=clock())
        raise
    async with database.transaction() as tx:
        return await queries.record_intent(
            tx, payment_id=payment_id, intent_id=intent.intent_id, payment_url=intent.payment_url, now=clock()
        )


async def receive_webhook(
    database: Database, *, secret: str | None, signature: str | None, body: bytes, clock: Clock = system_clock
) -> Verdict:
    """Take in a webhook of the sandbox provider, and credit the wallet when it says so.

    The signature is checked over the raw bytes before anything is read. The event is claimed,
    the payment moved on and the wallet credited in one transaction; the money's key is the
    payment, so that two different events for one payment credit it once.

    Raises:
        ProviderSecretMissing, InvalidSignature: nothing was read or kept.
        EventReused: an event of this id came with another body; it changes nothing.
    """
    sandbox.verify(secret, signature, body, now=clock())
    event = sandbox.read_event(body)
    # Signed, and yet not an event: it has no id of its own, so its content names it.
    event_id = event.event_id if event else f"sha256:{hashlib.sha256(body).hexdigest()}"
    row_id = new_id()
    async with database.transaction() as tx:
        claimed = await queries.insert_event(
            tx, row_id=row_id, provider=sandbox.NAME, event_id=event_id, raw_body=body, now=clock()
        )
        if not claimed:
            if await queries.event_body(tx, provider=sandbox.NAME, event_id=event_id) != body:
                raise EventReused
            return Verdict("repeated")
        payment = None
        if event and event.intent_id:
            payment = await queries.lock_payment_by_intent(tx, provider=sandbox.NAME, intent_id=event.intent_id)
        verdict = (
            rules.judge(event.type, event.amount, event.currency, payment=payment)
            if event
            else Verdict("review", "malformed")
        )
        if payment is not None and verdict.outcome == "credited":
            verdict = await _credit(tx, payment, clock=clock)
        elif payment is not None and verdict.outcome == "failed":
            await queries.set_status(tx, payment_id=payment.id, status="failed", now=clock())
        await queries.conclude_event(
            tx,
            row_id=row_id,
            payment_id=payment.id if payment else None,
            outcome=verdict.outcome,
            reason=verdict.reason,
        )
    if verdict.outcome == "review":
        _log.warning("payment_event_to_review", event_id=event_id, reason=verdict.reason)
    return verdict


async def _credit(tx: Transaction, payment: Payment, *, clock: Clock) -> Verdict:
    """Credit the wallet and end the payment; what the wallet refuses is not lost but waits for a person."""
    try:
        await post_deposit(
            tx,
            user_id=payment.user_id,
            money=Money(payment.amount, payment.currency),
            external_id=f"{sandbox.NAME}:{payment.id}",
            payment_id=payment.id,
            provider=sandbox.NAME,
        )
    except Refusal as refusal:
        return Verdict("review", refusal.code)
    await queries.set_status(tx, payment_id=payment.id, status="success", now=clock())
    return Verdict("credited", credited=payment.user_id)


async def _note_wish(database: Database, *, payment_id: UUID, user_id: UUID, money: Money, clock: Clock) -> Payment:
    async with database.transaction() as tx:
        await queries.insert_payment(
            tx,
            payment_id=payment_id,
            user_id=user_id,
            amount=money.amount,
            currency=money.currency,
            provider=sandbox.NAME,
            now=clock(),
        )
        payment = await queries.payment_by_id(tx, payment_id)
    assert payment is not None
    if (payment.amount, payment.currency) != (money.amount, money.currency):
        raise IdempotencyKeyReused
    return payment

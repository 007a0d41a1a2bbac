"""The statements of this room, one function each."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from countroom.payments.rules import Payment
from countroom.postgres import Transaction
from countroom.schema.enumerations import PaymentStatus


def _payment(row: asyncpg.Record) -> Payment:
    return Payment(**dict(row))


async def insert_payment(
    tx: Transaction, *, payment_id: UUID, user_id: UUID, amount: Decimal, currency: str, provider: str, now: datetime
) -> bool:
    """Note the wish to pay in, before the provider hears of it. Returns False when it is noted already."""
    row = await tx.fetchrow(
        """
        INSERT INTO payments (id, user_id, type, amount, currency, provider, created_at, updated_at)
        VALUES ($1, $2, 'deposit', $3, $4, $5, $6, $6)
        ON CONFLICT (id) DO NOTHING
        RETURNING id
        """,
        payment_id,
        user_id,
        amount,
        currency,
        provider,
        now,
    )
    return row is not None


async def payment_by_id(tx: Transaction, payment_id: UUID) -> Payment | None:
    """Return a payment."""
    row = await tx.fetchrow(
        """
        SELECT id, user_id, type, amount, currency, status, payment_intent_id, metadata->>'payment_url' AS payment_url
          FROM payments
         WHERE id = $1
        """,
        payment_id,
    )
    return _payment(row) if row else None


async def lock_payment_by_intent(tx: Transaction, *, provider: str, intent_id: str) -> Payment | None:
    """Lock the payment that a provider knows by this name; wallets are locked after it, never before."""
    row = await tx.fetchrow(
        """
        SELECT id, user_id, type, amount, currency, status, payment_intent_id, metadata->>'payment_url' AS payment_url
          FROM payments
         WHERE provider = $1
           AND payment_intent_id = $2
           FOR UPDATE
        """,
        provider,
        intent_id,
    )
    return _payment(row) if row else None


async def record_intent(
    tx: Transaction, *, payment_id: UUID, intent_id: str, payment_url: str, now: datetime
) -> Payment:
    """Note what the provider calls the payment and where it is paid; what is noted already stays."""
    row = await tx.fetchrow(
        """
        UPDATE payments
           SET payment_intent_id = coalesce(payment_intent_id, $2),
               status = CASE status WHEN 'pending' THEN 'processing' ELSE status END,
               metadata = jsonb_build_object('payment_url', $3::text) || metadata,
               updated_at = $4
         WHERE id = $1
        RETURNING id, user_id, type, amount, currency, status, payment_intent_id,
                  metadata->>'payment_url' AS payment_url
        """,
        payment_id,
        intent_id,
        payment_url,
        now,
    )
    assert row is not None
    return _payment(row)


async def set_status(tx: Transaction, *, payment_id: UUID, status: PaymentStatus, now: datetime) -> None:
    """Move a payment forward; one that is at its end stays there."""
    await tx.execute(
        """
        UPDATE payments
           SET status = $2, updated_at = $3
         WHERE id = $1
           AND status IN ('pending', 'processing')
        """,
        payment_id,
        status,
        now,
    )


async def insert_event(
    tx: Transaction, *, row_id: UUID, provider: str, event_id: str, raw_body: bytes, now: datetime
) -> bool:
    """Claim an event, inside the transaction that moves its money.

    Returns False when it came before. Of two at once, the second waits here for the first to end.
    """
    row = await tx.fetchrow(
        """
        INSERT INTO payment_events (id, provider, event_id, raw_body, outcome, received_at)
        VALUES ($1, $2, $3, $4, 'received', $5)
        ON CONFLICT (provider, event_id) DO NOTHING
        RETURNING id
        """,
        row_id,
        provider,
        event_id,
        raw_body,
        now,
    )
    return row is not None


async def event_body(tx: Transaction, *, provider: str, event_id: str) -> bytes:
    """Return the raw body under which an event came first."""
    row = await tx.fetchrow(
        "SELECT raw_body FROM payment_events WHERE provider = $1 AND event_id = $2", provider, event_id
    )
    assert row is not None
    return bytes(row["raw_body"])


async def conclude_event(
    tx: Transaction, *, row_id: UUID, payment_id: UUID | None, outcome: str, reason: str | None
) -> None:
    """Note what an event did, and to which payment."""
    await tx.execute(
        "UPDATE payment_events SET payment_id = $2, outcome = $3, reason = $4 WHERE id = $1",
        row_id,
        payment_id,
        outcome,
        reason,
    )

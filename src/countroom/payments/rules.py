"""What a payment may be, and what an event may do to it. Decides on its arguments alone."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from countroom.money import EXPONENTS, Money
from countroom.refusal import Refusal
from countroom.schema.enumerations import PaymentStatus, PaymentType

DEPOSIT_MIN: Final = Decimal(1)
DEPOSIT_MAX: Final = Decimal(100_000)
"""In the main unit of a currency with two decimals."""
DEPOSIT_MAX_WHOLE: Final = Decimal(10_000_000)
"""Of a currency without decimals, whose unit is worth about a hundredth."""

Outcome = Literal[
    "credited",  # the wallet has the money now
    "failed",  # the payment has come to nothing
    "repeated",  # another event had said the same before
    "ignored",  # of a type that moves nothing
    "review",  # a person must look: the reason is beside it
]


class AmountOutOfBounds(Refusal):
    """The amount is below the smallest or above the largest deposit."""

    kind = "invalid"
    code = "amount_out_of_bounds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment, as far as the rules care."""

    id: UUID
    user_id: UUID
    type: PaymentType
    amount: Decimal
    currency: str
    status: PaymentStatus
    payment_intent_id: str | None
    payment_url: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an event does."""

    outcome: Outcome
    reason: str | None = None
    credited: UUID | None = field(default=None, compare=False)
    """The player whose wallet it changed."""


def check_deposit(money: Money) -> None:
    """Refuse deposits that are too small or too large to be meant.

    Raises:
        AmountOutOfBounds: with the bounds in the sentence.
    """
    most = DEPOSIT_MAX if EXPONENTS[money.currency] else DEPOSIT_MAX_WHOLE
    if not DEPOSIT_MIN <= money.amount <= most:
        raise AmountOutOfBounds(
            f"A deposit is at least {DEPOSIT_MIN} and at most {most} {money.currency}.", field="amount"
        )


def judge(event_type: str, amount: str | None, currency: str | None, *, payment: Payment | None) -> Verdict:
    """Decide what a signed event does to the payment that it names.

    A payment only goes forward: pending, processing, then success or failed, and no further.
    Whatever contradicts that, or names another amount or currency than was asked for, is kept
    for a person to look at and moves nothing.
    """
    if event_type not in {"payment.succeeded", "payment.failed"}:
        return Verdict("ignored", "unknown_type")
    if payment is None:
        return Verdict("review", "unknown_intent")
    succeeded = event_type == "payment.succeeded"
    verdict = Verdict("credited" if succeeded else "failed")
    if payment.type != "deposit":
        verdict = Verdict("review", "not_a_deposit")
    elif not _same_money(amount, currency, payment):
        verdict = Verdict("review", "other_amount")
    elif payment.status == ("success" if succeeded else "failed"):
        verdict = Verdict("repeated")
    elif payment.status in {"success", "failed"}:
        verdict = Verdict("review", "succeeded_after_failed" if succeeded else "failed_after_succeeded")
    return verdict


def _same_money(amount: str | None, currency: str | None, payment: Payment) -> bool:
    if amount is None or currency != payment.currency:
        return False
    try:
        return Money.parse(amount, currency).amount == payment.amount
    except Refusal:
        return False

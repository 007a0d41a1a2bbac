"""What a signature proves, and what an event may do to a payment."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countroom.money import Money
from countroom.payments import rules
from countroom.payments.providers import sandbox
from countroom.payments.rules import Payment, Verdict
from countroom.schema.enumerations import PaymentStatus

SECRET = "whsec-0123456789abcdef"
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
MOMENT = int(NOW.timestamp())
BODY = b'{"event_id":"evt_1"}'


def test_a_signature_of_the_description_holds() -> None:
    # printf '1000.body' | openssl dgst -sha256 -hmac whsec-0123456789abcdef
    expected = "t=1000,v1=1b781d27a5ef968ac779c58ce6fdfb1428342f186011eda73163ffddfad22571"

    assert sandbox.sign(SECRET, b"body", at=1000) == expected


@pytest.mark.parametrize(("seconds", "holds"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_a_signature_is_good_for_five_minutes(seconds: int, holds: bool) -> None:  # noqa: FBT001 - a table's column
    header = sandbox.sign(SECRET, BODY, at=MOMENT)
    now = NOW + timedelta(seconds=seconds)

    if holds:
        sandbox.verify(SECRET, header, BODY, now=now)
    else:
        with pytest.raises(sandbox.InvalidSignature):
            sandbox.verify(SECRET, header, BODY, now=now)


def test_any_of_several_signatures_may_be_the_right_one() -> None:
    header = f"{sandbox.sign('the-secret-before-this', BODY, at=MOMENT)},{_v1(SECRET)}"

    sandbox.verify(SECRET, header, BODY, now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=,v1=",
        f"t={MOMENT}",
        f"t={MOMENT},v1=",
        f"t={MOMENT},v0=" + "0" * 64,
        sandbox.sign("another-secret-entirely", BODY, at=MOMENT),
        sandbox.sign(SECRET, BODY + b"\n", at=MOMENT),
        sandbox.sign(SECRET, BODY, at=MOMENT).replace("v1=", "v1=0"),
        f"t={MOMENT + 1},{sandbox.sign(SECRET, BODY, at=MOMENT).partition(',')[2]}",
        f"{sandbox.sign(SECRET, BODY, at=MOMENT)},t={MOMENT}",
        "t=1e9,v1=" + "0" * 64,
        "t=٣,v1=" + "0" * 64,
        f"t={MOMENT},v1=\udcff",
        f"t={MOMENT}" + ",v1=0" * 1000,
    ],
)
def test_whatever_else_is_refused(header: str | None) -> None:
    with pytest.raises(sandbox.InvalidSignature):
        sandbox.verify(SECRET, header, BODY, now=NOW)


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_nothing_is_believed(secret: str | None) -> None:
    with pytest.raises(sandbox.ProviderSecretMissing):
        sandbox.verify(secret, sandbox.sign("", BODY, at=MOMENT), BODY, now=NOW)


@given(st.text(max_size=200), st.binary(max_size=50))
def test_no_header_makes_the_check_fall_over(header: str, body: bytes) -> None:
    with pytest.raises(sandbox.InvalidSignature):
        sandbox.verify(SECRET, header, body, now=NOW)


@given(st.binary(max_size=200))
def test_reading_a_body_never_falls_over(body: bytes) -> None:
    event = sandbox.read_event(body)

    assert event is None or event.event_id


@pytest.mark.parametrize("event_id", ["", "a\x00b", "a b", "x" * 201, "é"])
def test_an_event_without_a_usable_id_is_none(event_id: str) -> None:
    assert sandbox.read_event(msgspec.json.encode({"event_id": event_id, "type": "payment.failed"})) is None


def payment(status: PaymentStatus = "processing", **changes: object) -> Payment:
    facts: dict[str, object] = {
        "id": UUID(int=1),
        "user_id": UUID(int=2),
        "type": "deposit",
        "amount": Decimal("12.50"),
        "currency": "EUR",
        "status": status,
        "payment_intent_id": "pi_1",
        "payment_url": "http://psp.example/pay/pi_1",
    }
    return Payment(**(facts | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "status", "outcome"),
    [
        ("succeeded", "pending", "credited"),
        ("succeeded", "processing", "credited"),
        ("succeeded", "success", "repeated"),
        ("succeeded", "failed", "review"),
        ("failed", "pending", "failed"),
        ("failed", "processing", "failed"),
        ("failed", "failed", "repeated"),
        ("failed", "success", "review"),
    ],
)
def test_a_payment_only_goes_forward(event: str, status: PaymentStatus, outcome: str) -> None:
    assert rules.judge(f"payment.{event}", "12.50", "EUR", payment=payment(status)).outcome == outcome


@pytest.mark.parametrize("event_type", ["payment.succeeded", "payment.failed"])
@pytest.mark.parametrize(
    ("amount", "currency"),
    [("12.51", "EUR"), ("12.49", "EUR"), ("1250", "EUR"), ("12.50", "USD"), ("12.50", "eur"), (None, "EUR"),
     ("12.50", None), ("1.25E1", "EUR"), ("+12.50", "EUR"), ("NaN", "EUR"), ("12.500000000000000001", "EUR")],
)  # fmt: skip
def test_other_money_is_for_a_person_to_look_at(event_type: str, amount: str | None, currency: str | None) -> None:
    assert rules.judge(event_type, amount, currency, payment=payment()) == Verdict("review", "other_amount")


def test_the_same_number_written_otherwise_is_the_same_money() -> None:
    assert rules.judge("payment.succeeded", "12.5", "EUR", payment=payment()).outcome == "credited"


def test_what_is_not_known_moves_nothing() -> None:
    assert rules.judge("payment.refunded", "12.50", "EUR", payment=payment()) == Verdict("ignored", "unknown_type")
    assert rules.judge("payment.succeeded", "12.50", "EUR", payment=None) == Verdict("review", "unknown_intent")
    withdrawal = payment(type="withdrawal")
    assert rules.judge("payment.succeeded", "12.50", "EUR", payment=withdrawal) == Verdict("review", "not_a_deposit")


@given(st.text(max_size=20), st.none() | st.text(max_size=12), st.none() | st.text(max_size=4))
def test_only_the_money_asked_for_is_ever_credited(event_type: str, amount: str | None, currency: str | None) -> None:
    for status in get_args(PaymentStatus):
        verdict = rules.judge(event_type, amount, currency, payment=payment(status))
        if verdict.outcome == "credited":
            assert amount is not None
            assert (event_type, Decimal(amount), currency) == ("payment.succeeded", Decimal("12.50"), "EUR")
            assert status in {"pending", "processing"}


@pytest.mark.parametrize(
    ("amount", "currency", "fine"),
    [("0", "EUR", False), ("0.99", "EUR", False), ("1", "EUR", True), ("100000", "EUR", True),
     ("100000.01", "EUR", False), ("1", "JPY", True), ("10000000", "JPY", True), ("10000001", "JPY", False)],
)  # fmt: skip
def test_deposits_have_bounds(amount: str, currency: str, fine: bool) -> None:  # noqa: FBT001 - a table's column
    money = Money.parse(amount, currency)
    if fine:
        rules.check_deposit(money)
    else:
        with pytest.raises(rules.AmountOutOfBounds) as refused:
            rules.check_deposit(money)
        assert refused.value.field == "amount"


def _v1(secret: str) -> str:
    return sandbox.sign(secret, BODY, at=MOMENT).partition(",")[2]

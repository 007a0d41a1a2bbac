"""What an account may look like."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countroom.players import rules
from countroom.players.rules import Registration
from countroom.refusal import Refusal

TODAY = date(2026, 3, 1)


def check(**changes: object) -> Registration:
    facts: dict[str, object] = {
        "email": "ann@example.com",
        "password": "a long walk home",
        "country": "MT",
        "birth_date": date(1990, 1, 2),
        "currency": "EUR",
        "currencies": ("EUR", "JPY"),
        "today": TODAY,
    }
    return rules.check_registration(**(facts | changes))  # type: ignore[arg-type]


def refusal_of(**changes: object) -> Refusal:
    with pytest.raises(Refusal) as refused:
        check(**changes)
    return refused.value


def test_an_address_is_kept_in_lower_case() -> None:
    assert check(email=" Ann.Bee+casino@Mail.EXAMPLE.com ").email == "ann.bee+casino@mail.example.com"


@pytest.mark.parametrize(
    "email",
    ["", "ann", "ann@", "@example.com", "ann@example", "ann@@example.com", "a b@example.com", "ann@exa mple.com",
     ".ann@example.com", "ann.@example.com", "a..b@example.com", "ann@-example.com", "ann@example-.com",
     "ann@example.com\n", "ann@example.com\r\nBcc: x@y.zz", "ann\x00@example.com", "änn@example.com",
     "ann@exämple.com", "\u212aate@example.com", "a" * 65 + "@example.com", "a@" + "b" * 250 + ".com", "ann@1.2.3.4"],
)  # fmt: skip
def test_what_is_no_address_is_refused(email: str) -> None:
    refusal = refusal_of(email=email)

    assert (refusal.code, refusal.field) == ("invalid_email", "email")


@given(st.emails(domains=st.just("example.com")))
def test_ordinary_addresses_are_taken_and_normal_ones_stay(email: str) -> None:
    if len(email.partition("@")[0]) <= rules.EMAIL_LOCAL_LENGTH_MAX:
        normal = rules.normal_email(email)
        assert rules.normal_email(normal) == normal == email.lower()


@given(st.text(max_size=60))
def test_whatever_is_taken_can_be_kept_by_postgresql(text: str) -> None:
    try:
        normal = rules.normal_email(text)
    except rules.InvalidEmail:
        return
    assert rules.may_be_an_address(normal)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "password_too_weak"),
        ("1234567", "password_too_weak"),
        ("password", "password_too_weak"),
        ("PassWord1", "password_too_weak"),
        ("ßßßßßßßß", "password_too_weak"),
        ("xxxxxxxxxxxxxxxx", "password_too_weak"),
        ("ann@example.com", "password_too_weak"),
        ("x1" * 65, "password_too_long"),
    ],
)
def test_guessable_and_endless_passwords_are_refused(password: str, code: str) -> None:
    refusal = refusal_of(password=password)

    assert (refusal.code, refusal.field) == (code, "password")


def test_any_characters_make_a_password() -> None:
    for password in ("пароль для игры", "七転び八起き七転び八起き", "8 chars!", "y1" * 64):
        check(password=password)


def test_nobody_under_eighteen_plays() -> None:
    check(birth_date=date(2008, 3, 1))

    refusal = refusal_of(birth_date=date(2008, 3, 2))
    assert (refusal.kind, refusal.code, refusal.field) == ("forbidden", "under_age", "birth_date")


def test_who_is_born_on_a_leap_day_has_a_birthday_in_march() -> None:
    born = date(2008, 2, 29)

    assert rules.age_years(born, date(2026, 2, 28)) == 17
    assert rules.age_years(born, date(2026, 3, 1)) == 18


@given(st.dates(date(1906, 3, 2), TODAY), st.integers(0, 4000))
def test_nobody_grows_younger(born: date, days: int) -> None:
    age = rules.age_years(born, TODAY)

    assert 0 <= age <= rules.age_years(born, TODAY + timedelta(days))


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"birth_date": date(2027, 1, 1)}, "invalid_birth_date", "birth_date"),
        ({"birth_date": date(1, 1, 1)}, "invalid_birth_date", "birth_date"),
        ({"country": "XX"}, "unknown_country", "country"),
        ({"country": "mt"}, "unknown_country", "country"),
        ({"country": "MLT"}, "unknown_country", "country"),
        ({"currency": "USD"}, "unknown_currency", "currency"),
        ({"currency": "eur"}, "unknown_currency", "currency"),
    ],
)
def test_what_is_at_fault_is_named(changes: dict[str, object], code: str, field: str) -> None:
    refusal = refusal_of(**changes)

    assert (refusal.code, refusal.field) == (code, field)

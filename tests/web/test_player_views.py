"""What a player's page shows, made from plain values."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from countroom import clock
from countroom.wallet.history import Line, Page, Place
from countroom.web.backoffice import player_views as views
from countroom.web.backoffice.player_views import Asked

MOMENT = datetime(2026, 3, 1, 23, 30, 5, 123456, tzinfo=UTC)


def line(amount: str, type_: str = "bet") -> Line:
    return Line(
        sequence=1_234, created_at=MOMENT, amount=Decimal(amount), balance_after=Decimal("1000.00"), movement="posted",
        transaction_id=clock.new_id(), type=type_, status="success", fee=Decimal("0.50"), provider="sandbox",
        external_id="sandbox:1", payment_id=None, round_id=None, round_external_id=None, game_slug=None,
        game_title=None,
    )  # fmt: skip


def test_a_credit_has_a_plus_and_a_debit_a_minus_and_times_are_those_of_the_zone() -> None:
    credit, debit = views.lines([line("1234.50", "win"), line("-5.00")], "EUR", ZoneInfo("Europe/Malta"))

    assert (credit.amount, credit.is_credit, credit.title) == ("+1,234.50", True, "Win")
    assert (debit.amount, debit.is_credit, debit.title) == ("−5.00", False, "Bet")  # noqa: RUF001 - the page's minus
    assert (debit.day, debit.time, debit.moment) == ("2 Mar 2026", "00:30:05", "2026-03-01T23:30:05.123456+00:00")
    assert (debit.sequence, debit.fee, debit.balance) == ("1,234", "0.50", "1,000.00")


def test_an_address_keeps_what_was_asked_for_but_the_changes() -> None:
    asked = Asked(wallet="w", types=("bet", "win"), status="success", since="2026-03-01T00:00", game="a&b")

    assert asked.query() == "wallet=w&type=bet&type=win&status=success&from=2026-03-01T00%3A00&game=a%26b"
    assert (
        asked.query(cursor="c", game="") == "wallet=w&type=bet&type=win&status=success&from=2026-03-01T00%3A00&cursor=c"
    )
    assert asked.has_filters
    assert not Asked(wallet="w", at="2026-03-01T00:00").has_filters


@pytest.mark.parametrize(
    ("low", "high", "entries", "text"),
    [
        (1, 0, 0, "No entries yet"),
        (1, 1, 1, "One entry"),
        (1, 40, 40, "All 40 entries"),
        (11, 60, 1_060, "Entries 60 to 11 of 1,060"),
        (7, 7, 60, "Entry 7 of 60"),
        (61, 60, 60, "None of 60 entries"),
    ],
)
def test_a_page_says_where_it_is(low: int, high: int, entries: int, text: str) -> None:
    page = Page([], Place("older", low), Place("newer", high + 1), has_older=False, has_newer=False)

    assert views.range_text(page, entries) == text


def test_a_moment_is_read_in_the_zone_of_the_page_unless_it_has_its_own() -> None:
    malta = ZoneInfo("Europe/Malta")

    assert views.local_moment("2026-07-01T12:00", malta).astimezone(UTC) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert views.local_moment("2026-07-01T12:00:00Z", malta).astimezone(UTC) == datetime(2026, 7, 1, 12, tzinfo=UTC)
    with pytest.raises(ValueError, match="isoformat"):
        views.local_moment("yesterday", malta)


def test_a_field_shows_only_what_a_browser_takes() -> None:
    assert views.field_value("2026-03-01T00:00") == "2026-03-01T00:00"
    assert views.field_value("2026-03-01T00:00:05.5") == "2026-03-01T00:00:05.5"
    assert [views.field_value(text) for text in ("", "yesterday", "20260301", "2026-03-01T00:00Z")] == [""] * 4

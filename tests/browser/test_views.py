"""What the pages show, made from plain values."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from countroom.proof import KeptProof, Scope
from countroom.web.backoffice import views
from countroom.web.backoffice.render import rendering
from countroom.web.backoffice.views import Day, MinuteRow, RoundRow

MOMENT = datetime(2026, 3, 10, 12, 30, 20, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
EUR = {(MOMENT.date(), "EUR"): Decimal(1)}


def test_a_day_without_a_row_shows_zeros_and_no_conversion() -> None:
    shown = {tile.name: (tile.value, tile.previous, tile.direction) for tile in views.tiles(None, None, "EUR")}

    assert shown["ggr"] == ("0.00", "none", "none")
    assert shown["players"] == ("0", "none", "none")
    assert shown["conversion"] == ("–", "none", "none")  # noqa: RUF001 - the page's dash


def test_tiles_say_how_far_today_is_from_yesterday() -> None:
    today = Day(12, Decimal("-1234.50"), Decimal("150.00"), Decimal("75.00"), Decimal("0.4231"))
    yesterday = Day(12, Decimal("100.00"), Decimal("100.00"), Decimal("100.00"), Decimal("0.4"))

    shown = {tile.name: (tile.value, tile.change, tile.direction) for tile in views.tiles(today, yesterday, "EUR")}

    assert shown == {
        "ggr": ("−1,234.50", "× 12", "down"),  # noqa: RUF001 - the page's signs
        "players": ("12", "as yesterday", "same"),
        "deposits": ("150.00", "50.0 %", "up"),
        "withdrawals": ("75.00", "25.0 %", "down"),
        "conversion": ("42.3", "2.3 points", "up"),
    }


def test_a_currency_without_decimals_has_none() -> None:
    assert views.amount_text(Decimal("1234567.00"), "JPY") == "1,234,567"


def test_every_one_of_the_last_minutes_has_a_point_also_the_empty_ones() -> None:
    row = MinuteRow(MOMENT.replace(second=0) - timedelta(minutes=2), "EUR", Decimal("4.20"), 3)

    shown = views.minutes([row], EUR, MOMENT, UTC_ZONE)

    assert len(shown.times) == len(shown.bets) == len(shown.gross_gaming_revenue) == 30
    assert shown.times[-1] == int(MOMENT.replace(second=0).timestamp())
    assert shown.bets[-4:] == [0, 3, 0, 0]
    assert shown.gross_gaming_revenue[-3] == Decimal("4.20")


def test_money_is_converted_with_the_rate_of_its_own_day() -> None:
    midnight = datetime(2026, 3, 11, tzinfo=UTC)
    before, after = midnight - timedelta(minutes=1), midnight
    rates = {(before.date(), "USD"): Decimal("0.5"), (after.date(), "USD"): Decimal("0.9")}
    rows = [MinuteRow(minute, "USD", Decimal("10.00"), 1) for minute in (before, after)]

    shown = views.minutes(rows, rates, midnight + timedelta(seconds=5), UTC_ZONE)

    assert shown.gross_gaming_revenue[-2:] == [Decimal("5.00"), Decimal("9.00")]


def test_money_without_a_rate_is_named_and_never_added() -> None:
    minute = MOMENT.replace(second=0)
    rows = [MinuteRow(minute, "EUR", Decimal("1.00"), 1), MinuteRow(minute, "SEK", Decimal("99.00"), 2)]

    shown = views.minutes(rows, EUR, MOMENT, UTC_ZONE)

    assert shown.gross_gaming_revenue[-1] == Decimal("1.00")
    assert shown.bets[-1] == 3
    assert shown.without_rate == ("SEK",)


def test_a_promise_that_was_never_proved_is_not_shown_as_held() -> None:
    lines = views.promises([KeptProof("P1", True, 7, checked_at=MOMENT - timedelta(seconds=12))], MOMENT)

    assert [line.state for line in lines] == ["good"] + ["unknown"] * 5
    assert views.verdict(lines, MOMENT) == ("warning", "1 of 6 promises proved", "12 s ago")


@pytest.mark.parametrize(
    ("broken", "sentence"), [(["P6"], "P6 does not hold"), (["P1", "P3"], "P1 and P3 do not hold")]
)
def test_the_verdict_names_what_is_broken(broken: list[str], sentence: str) -> None:
    proofs = [KeptProof(code, code not in broken, 1, ("wallet 1",), checked_at=MOMENT) for code in views.PROMISES]

    assert views.verdict(views.promises(proofs, MOMENT), MOMENT)[:2] == ("bad", sentence)


def test_the_verdict_is_as_old_as_its_oldest_proof_and_no_longer_vouches_for_an_old_one() -> None:
    def verdict(oldest: int) -> tuple[str, str, str]:
        ages = dict.fromkeys(views.PROMISES, 0) | {"P4": oldest}
        proofs = [KeptProof(code, True, 1, checked_at=MOMENT - timedelta(minutes=age)) for code, age in ages.items()]
        return views.verdict(views.promises(proofs, MOMENT), MOMENT)

    assert verdict(4) == ("good", "All 6 promises hold", "4 min ago")
    assert verdict(70) == ("warning", "All 6 promises held when last proved", "1 h ago")


@pytest.mark.parametrize(
    ("scope", "seconds", "waiting", "how"),
    [
        ("incremental", 0.04, 0, "incremental, < 0.1 s"),
        ("incremental", 0.44, 0, "incremental, 0.4 s"),
        ("incremental", 4.2, 120_000, "incremental, 4.2 s, 120,000 entries wait for the next"),
        ("full", 41.3, 0, "full, 41 s"),
        ("full", None, 0, "full"),
    ],
)
def test_a_proof_says_what_it_covered_how_long_it_took_and_what_it_left(
    scope: Scope, seconds: float | None, waiting: int, how: str
) -> None:
    proof = KeptProof("P1", True, 1, scope=scope, seconds=seconds, waiting=waiting, checked_at=MOMENT)

    assert views.promises([proof], MOMENT)[0].how == how


def test_a_round_shows_a_shortened_player_and_nothing_else_of_them() -> None:
    player = uuid.UUID("0198f3a2-1111-7111-8111-1234567890ab")
    row = RoundRow(uuid.uuid4(), MOMENT, player, "Ledger", "EUR", Decimal("1.00"), Decimal("0.00"), "settled")

    (line,) = views.rounds([row], ZoneInfo("Europe/Malta"))

    assert (line.player, line.time, line.win, line.won) == ("7890ab", "13:30:20", "–", False)  # noqa: RUF001


@pytest.mark.parametrize(
    ("rows", "seconds", "arrived", "state"),
    [
        (0, 0.0, None, "unknown"),
        (0, 0.0, MOMENT, "good"),
        (40, 12.0, MOMENT, "warning"),
        (10_000, 3600.0, MOMENT, "bad"),
        (5, 60.0, None, "bad"),
    ],
)
def test_the_lag_is_said_in_words(rows: int, seconds: float, arrived: datetime | None, state: str) -> None:
    shown = views.pipeline(
        rows=rows, rows_max=10_000, size_bytes=1_500, seconds=seconds, arrived_at=arrived, moment=MOMENT
    )

    assert shown.state == state
    assert shown.bytes == "1.5 kB"
    assert shown.rows.endswith("+") == (rows == 10_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["bg", "surface"])
@pytest.mark.parametrize("ink", ["ink", "muted", "green", "red", "amber", "brass"])
def test_text_stands_out_from_its_ground(theme: str, ground: str, ink: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    colors = _colors(theme)

    light, dark = sorted((_luminance(colors[ground]), _luminance(colors[ink])), reverse=True)

    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_night_is_the_same_whether_chosen_or_the_systems() -> None:
    css = (rendering.static_directory / "backoffice.css").read_text()
    nights = re.findall(r':root(?::not\(\[data-theme="light"\]\)|\[data-theme="dark"\]) \{(.*?)\}', css, re.DOTALL)

    first, second = (re.sub(r"\s+", " ", night) for night in nights)

    assert first == second


def test_vendored_files_are_the_ones_that_the_list_names() -> None:
    folder = rendering.static_directory / "vendor"
    listed = set(re.findall(r"`([^`]+\.(?:js|css|txt))`", (folder / "README.md").read_text()))

    assert listed == {path.name for path in folder.iterdir()} - {"README.md"}


def _colors(theme: str) -> dict[str, str]:
    css = (rendering.static_directory / "backoffice.css").read_text()
    start = css.index(":root {") if theme == "light" else css.index(':root[data-theme="dark"]')
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", css[start : css.index("}", start)]))


def _luminance(color: str) -> float:
    channels = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

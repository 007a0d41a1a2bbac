import random
from decimal import Decimal
from fractions import Fraction

import pytest

from countroom.demo.paytable import GAMES, PAYTABLES, Volatility, draw, return_to_player, win_of

DRAWS = 200_000


@pytest.mark.parametrize("volatility", ["low", "medium", "high"])
def test_the_published_return_is_96_percent_and_is_what_the_draws_give(volatility: Volatility) -> None:
    chance = random.Random(96)  # noqa: S311 - a fixed seed
    measured = sum(draw(volatility, chance) for _ in range(DRAWS)) / DRAWS

    published = return_to_player(volatility)
    mean_of_squares = (
        sum(Fraction(multiplier) ** 2 * weight for multiplier, weight in PAYTABLES[volatility]) / 1_000_000
    )
    error = float((mean_of_squares - published**2) / DRAWS) ** 0.5
    assert published == Fraction(96, 100)
    assert abs(float(measured) - 0.96) < 3 * error


def test_every_multiplier_is_drawn_as_often_as_its_chances_say() -> None:
    chance = random.Random(7)  # noqa: S311 - a fixed seed
    seen = [draw("low", chance) for _ in range(DRAWS)]

    for multiplier, weight in PAYTABLES["low"]:
        expected = DRAWS * weight / 1_000_000
        assert abs(seen.count(multiplier) - expected) < 5 * expected**0.5


def test_a_win_is_whole_where_the_currency_is() -> None:
    assert win_of(Decimal("0.25"), Decimal("0.5"), "EUR") == Decimal("0.12")
    assert win_of(Decimal(25), Decimal("0.5"), "JPY") == Decimal(12)
    assert str(win_of(Decimal(20), Decimal(10), "JPY")) == "200"


def test_the_catalogue_has_every_genre_and_volatility() -> None:
    assert {game.genre for game in GAMES} == {"slots", "table", "live", "crash", "instant"}
    assert {game.volatility for game in GAMES} == {"low", "medium", "high"}

"""What the sandbox's games pay: the published odds, counted and measured."""

import random
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import pytest

from countroom.demo import slot
from countroom.demo.paytable import BY_SLUG, GAMES, PAYTABLES, draw, play, return_to_player, win_of
from countroom.demo.slot import Volatility

DRAWS = 200_000
SPINS = 1_000_000
STATED = Fraction(96, 100)


@pytest.mark.parametrize("volatility", ["low", "medium", "high"])
def test_the_published_return_is_96_percent_and_is_what_the_draws_give(volatility: Volatility) -> None:
    chance = random.Random(96)  # noqa: S311 - a fixed seed
    measured = sum(draw(volatility, chance) for _ in range(DRAWS)) / DRAWS

    mean_of_squares = (
        sum(Fraction(multiplier) ** 2 * weight for multiplier, weight in PAYTABLES[volatility]) / 1_000_000
    )
    error = float((mean_of_squares - STATED**2) / DRAWS) ** 0.5
    assert abs(float(measured) - 0.96) < 3 * error


def test_every_game_gives_back_exactly_what_it_states() -> None:
    assert {return_to_player(game) for game in GAMES} == {STATED}


@pytest.mark.parametrize("volatility", ["low", "medium", "high"])
def test_all_the_ways_in_which_the_reels_can_stop_give_back_what_is_stated(volatility: Volatility) -> None:
    total = sum(slot.stop(volatility, number).multiplier for number in range(slot.STOPS))

    assert Fraction(total) / slot.STOPS == slot.return_to_player(volatility) == STATED


def test_a_million_spins_give_back_what_the_slot_states() -> None:
    game = BY_SLUG["golden-ledger"]
    chance = random.Random(2_026)  # noqa: S311 - a fixed seed
    seen = Counter(play(game, chance).multiplier for _ in range(SPINS))

    measured = sum(multiplier * times for multiplier, times in seen.items()) / SPINS
    squares = sum(float(slot.stop(game.volatility, number).multiplier) ** 2 for number in range(slot.STOPS))
    error = ((squares / slot.STOPS - 0.96**2) / SPINS) ** 0.5
    assert abs(float(measured) - 0.96) < 3 * error
    assert error < 0.01, "a million spins would not tell a wrong return from the right one"


def test_the_reels_hold_the_same_symbols_and_pay_what_they_show() -> None:
    assert len({tuple(sorted(reel)) for reel in slot.REELS}) == 1
    for number in range(0, slot.STOPS, 97):
        stopped = slot.stop("medium", number)
        for won in stopped.lines:
            rows = slot.LINES[won.line]
            shown = [stopped.window[reel][rows[reel]] for reel in range(won.count)]
            assert shown == [won.symbol] * won.count
        assert stopped.multiplier * 5 == sum(won.pays for won in stopped.lines)


def test_a_win_of_an_offered_stake_is_never_cut() -> None:
    """A fifth of each stake is on a line, and what a line pays is a whole number of those."""
    for stake, currency in (("0.20", "EUR"), ("0.50", "EUR"), ("2.00", "SEK"), ("20", "JPY"), ("50", "JPY")):
        for number in range(0, slot.STOPS, 31):
            multiplier = slot.stop("high", number).multiplier
            assert win_of(Decimal(stake), multiplier, currency) == Decimal(stake) * multiplier


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

"""Who may launch what, decided from plain values."""

from dataclasses import replace
from typing import Final

import pytest

from countroom.games import rules
from countroom.games.rules import Applicant, IdentityPolicy, Terms
from countroom.refusal import Refusal

OPEN: Final = Terms(is_active=True, countries=None, currencies=None, verified_only=False)
PLAYER: Final = Applicant("active", "MT", "pending")


def _launch(
    player: Applicant = PLAYER,
    *,
    game: Terms = OPEN,
    provider: Terms = OPEN,
    holds_currency: bool = True,
    identity: IdentityPolicy = "not_rejected",
) -> str:
    try:
        rules.check_launch(
            player, game=game, provider=provider, currency="EUR", holds_currency=holds_currency, identity=identity
        )
    except Refusal as refusal:
        return refusal.code
    return "launched"


def _demo(player: Applicant = PLAYER, *, game: Terms = OPEN, has_demo: bool = True) -> str:
    try:
        rules.check_demo(player, game=game, provider=OPEN, has_demo=has_demo)
    except Refusal as refusal:
        return refusal.code
    return "launched"


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        (OPEN, "launched"),
        (replace(OPEN, is_active=False), "game_unavailable"),
        (replace(OPEN, countries=("MT", "SE")), "launched"),
        (replace(OPEN, countries=("NO", "SE")), "country_not_allowed"),
        (replace(OPEN, currencies=("EUR", "SEK")), "launched"),
        (replace(OPEN, currencies=("SEK",)), "currency_not_played"),
        (replace(OPEN, verified_only=True), "identity_not_verified"),
    ],
)
def test_the_games_terms_and_the_providers_must_both_allow_a_launch(terms: Terms, code: str) -> None:
    assert (_launch(game=terms), _launch(provider=terms)) == (code, code)


@pytest.mark.parametrize("status", ["blocked", "closed"])
def test_who_may_not_play_learns_nothing_about_games(status: str) -> None:
    gone = replace(PLAYER, status=status)  # type: ignore[arg-type]
    off = replace(OPEN, is_active=False, countries=("NO",))

    assert _launch(gone, game=off) == _demo(gone, game=off, has_demo=False) == "player_blocked"


@pytest.mark.parametrize(
    ("kyc", "identity", "code"),
    [
        ("pending", "not_rejected", "launched"),
        ("pending", "verified", "identity_not_verified"),
        ("verified", "verified", "launched"),
        ("rejected", "not_rejected", "identity_rejected"),
        ("rejected", "verified", "identity_rejected"),
    ],
)
def test_the_house_says_what_an_identity_must_be(kyc: str, identity: IdentityPolicy, code: str) -> None:
    assert _launch(replace(PLAYER, kyc_status=kyc), identity=identity) == code  # type: ignore[arg-type]


def test_of_whom_it_is_not_known_where_they_live_plays_only_what_everybody_may() -> None:
    nowhere = replace(PLAYER, country=None)

    assert _launch(nowhere) == "launched"
    assert _launch(nowhere, game=replace(OPEN, countries=("MT",))) == "country_not_allowed"


def test_a_wallet_in_the_currency_is_asked_for_last() -> None:
    assert _launch(holds_currency=False) == "wrong_currency"
    assert _launch(game=replace(OPEN, currencies=("SEK",)), holds_currency=False) == "currency_not_played"


def test_a_demo_asks_for_account_country_and_a_rejected_identity_and_for_nothing_of_money() -> None:
    strict = replace(OPEN, currencies=("SEK",), verified_only=True)

    assert _demo(game=strict) == "launched"
    assert _demo(has_demo=False) == "no_demo"
    assert _demo(game=replace(OPEN, is_active=False)) == "game_unavailable"
    assert _demo(game=replace(OPEN, countries=("NO",))) == "country_not_allowed"
    assert _demo(replace(PLAYER, kyc_status="rejected")) == "identity_rejected"

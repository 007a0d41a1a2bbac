"""Who may launch what, and which of two rules is the stricter one. Nothing here asks anybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from countroom.refusal import Refusal
from countroom.schema.enumerations import KycStatus, UserStatus

IdentityPolicy = Literal["not_rejected", "verified"]
"""What the house asks of a player's identity before a game is launched for money."""
SecondSession = Literal["replaces", "refused"]
"""What becomes of a launch while the player has an open session of the same game."""


@dataclass(frozen=True, slots=True)
class HousePolicy:
    """What the house has decided about launches."""

    identity: IdentityPolicy = "not_rejected"
    second_session: SecondSession = "replaces"


USUAL_POLICY: Final = HousePolicy()
"""As the settings are when nobody has set them."""


class UnknownGame(Refusal):
    """There is no such game."""

    kind = "missing"
    code = "unknown_game"


class GameUnavailable(Refusal):
    """This game cannot be launched now."""

    kind = "conflict"
    code = "game_unavailable"


class AlreadyPlaying(Refusal):
    """This game is being played already; end that first, or wait until it has ended."""

    kind = "conflict"
    code = "already_playing"


class NoDemo(Refusal):
    """This game is not played for fun."""

    kind = "conflict"
    code = "no_demo"


class NoWallet(Refusal):
    """You hold no wallet in this currency."""

    kind = "conflict"
    code = "wrong_currency"


class CurrencyNotPlayed(Refusal):
    """This game is not played in this currency."""

    kind = "conflict"
    code = "currency_not_played"


class CountryNotAllowed(Refusal):
    """This game may not be played where you live."""

    kind = "forbidden"
    code = "country_not_allowed"


class IdentityNotVerified(Refusal):
    """Your identity has to be verified before this game can be played for money."""

    kind = "forbidden"
    code = "identity_not_verified"


class IdentityRejected(Refusal):
    """Your identity could not be verified; please contact support."""

    kind = "forbidden"
    code = "identity_rejected"


class MayNotPlay(Refusal):
    """This account may not play."""

    kind = "forbidden"
    code = "player_blocked"


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms a game, or all games of a provider, may be launched. None: no restriction."""

    is_active: bool
    countries: Sequence[str] | None
    currencies: Sequence[str] | None
    verified_only: bool


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who wants to play."""

    status: UserStatus
    country: str | None
    kyc_status: KycStatus


def check_launch(
    player: Applicant, *, game: Terms, provider: Terms, currency: str, holds_currency: bool, identity: IdentityPolicy
) -> None:
    """Hold a launch for money to every gate; the provider's terms and the game's must both allow it.

    The account comes first: whoever is excluded or closed learns nothing about games.

    Raises:
        MayNotPlay, GameUnavailable, CountryNotAllowed, IdentityRejected, IdentityNotVerified, CurrencyNotPlayed,
        NoWallet: the first that stands in the way.
    """
    _check_player(player, game, provider)
    wants_verified = identity == "verified" or game.verified_only or provider.verified_only
    if wants_verified and player.kyc_status != "verified":
        raise IdentityNotVerified
    if not _allowed(currency, game.currencies) or not _allowed(currency, provider.currencies):
        raise CurrencyNotPlayed(field="currency")
    if not holds_currency:
        raise NoWallet(field="currency")


def check_demo(player: Applicant, *, game: Terms, provider: Terms, has_demo: bool) -> None:
    """Hold a launch for fun to the gates that are not about money.

    The account, the country and a rejected identity still count: a licence speaks of the game, not only of stakes,
    and an identity is often rejected because of age (LCCP 3.2.11: nobody under age plays free games either).

    Raises:
        MayNotPlay, GameUnavailable, CountryNotAllowed, IdentityRejected, NoDemo: the first that stands in the way.
    """
    _check_player(player, game, provider)
    if not has_demo:
        raise NoDemo(field="slug")


def _check_player(player: Applicant, game: Terms, provider: Terms) -> None:
    if player.status != "active":
        raise MayNotPlay
    if not (game.is_active and provider.is_active):
        raise GameUnavailable(field="slug")
    if not _lives_in(player.country, game.countries) or not _lives_in(player.country, provider.countries):
        raise CountryNotAllowed(field="slug")
    if player.kyc_status == "rejected":
        raise IdentityRejected


def _allowed(code: str, codes: Sequence[str] | None) -> bool:
    return codes is None or code in codes


def _lives_in(country: str | None, countries: Sequence[str] | None) -> bool:
    """Whether a player may play from where they live; of whom it is not known, only where everybody may."""
    return countries is None or (country is not None and country in countries)

"""What an account may look like. Decides on its arguments alone."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Final

from countroom.refusal import Refusal

AGE_MIN_YEARS: Final = 18
AGE_MAX_YEARS: Final = 120
"""Nobody has grown older: such a birth date is a slip of the pen."""
PASSWORD_LENGTH_MIN: Final = 8
"""ASVS 5.0, 6.2.1. No rule about composition (6.2.5)."""
PASSWORD_LENGTH_MAX: Final = 128
"""Far above the 64 of ASVS 5.0, 6.2.9; a bound, so that hashing is."""
EMAIL_LENGTH_MAX: Final = 254
"""RFC 5321, 4.5.3.1.3, without the angle brackets."""
EMAIL_LOCAL_LENGTH_MAX: Final = 64

_ISO_3166: Final = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ "
    "CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO "
    "FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE "
    "JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO "
    "MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW "
    "PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM "
    "TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES: Final = frozenset(_ISO_3166.split())
"""ISO 3166-1 alpha-2, the officially assigned codes."""
_EMAIL: Final = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])",
    re.ASCII,
)
_COMMON_PASSWORDS: Final = frozenset(
    files("countroom.players").joinpath("common_passwords.txt").read_text(encoding="ascii").split()
)


class InvalidEmail(Refusal):
    """This is not an e-mail address that mail can be sent to."""

    kind = "invalid"
    code = "invalid_email"


class PasswordTooWeak(Refusal):
    """This password would be guessed: choose one of at least 8 characters that few others use."""

    kind = "invalid"
    code = "password_too_weak"


class PasswordTooLong(Refusal):
    """A password has at most 128 characters."""

    kind = "invalid"
    code = "password_too_long"


class UnknownCountry(Refusal):
    """A country is given by its ISO 3166-1 code of two letters, such as MT."""

    kind = "invalid"
    code = "unknown_country"


class InvalidBirthDate(Refusal):
    """This cannot be the birth date of somebody alive."""

    kind = "invalid"
    code = "invalid_birth_date"


class UnderAge(Refusal):
    """Nobody under 18 plays here."""

    kind = "forbidden"
    code = "under_age"


class CurrencyNotOffered(Refusal):
    """Wallets are not offered in this currency."""

    kind = "invalid"
    code = "unknown_currency"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a new account is made of, checked and in the form in which it is kept."""

    email: str
    country: str
    birth_date: date
    currency: str


def normal_email(text: str) -> str:
    """Return the address in lower case, as it is kept and compared.

    Plain ASCII addresses only: what other alphabets look like in lower case is not the same
    for Python and for PostgreSQL, and two accounts could then share an address.

    Raises:
        InvalidEmail: it has not the form of an address.
    """
    email = text.strip(" ")
    if not email.isascii():
        raise InvalidEmail(field="email")
    email = email.lower()
    local = email.partition("@")[0]
    if len(email) > EMAIL_LENGTH_MAX or len(local) > EMAIL_LOCAL_LENGTH_MAX or not _EMAIL.fullmatch(email):
        raise InvalidEmail(field="email")
    return email


def may_be_an_address(text: str) -> bool:
    """Whether an account could have this address; PostgreSQL cannot even be asked about a zero byte."""
    return len(text) <= EMAIL_LENGTH_MAX and text.isascii() and text.isprintable()


def check_password(password: str, *, email: str) -> None:
    """Refuse passwords that are guessed first (ASVS 5.0, 6.2.1, 6.2.4, 6.2.9).

    Raises:
        PasswordTooWeak: too short, among the most common, or the player's own address.
        PasswordTooLong: longer than 128 characters; it is never cut.
    """
    if len(password) > PASSWORD_LENGTH_MAX:
        raise PasswordTooLong(field="password")
    folded = password.casefold()
    known = folded in _COMMON_PASSWORDS or folded in {email, email.partition("@")[0]}
    if len(password) < PASSWORD_LENGTH_MIN or known or len(set(folded)) == 1:
        raise PasswordTooWeak(field="password")


def age_years(birth_date: date, today: date) -> int:
    """Return how many birthdays have passed; who is born on 29 February has it on 1 March in other years."""
    return today.year - birth_date.year - ((today.month, today.day) < (birth_date.month, birth_date.day))


def check_registration(
    *,
    email: str,
    password: str,
    country: str,
    birth_date: date,
    currency: str,
    currencies: Collection[str],
    today: date,
) -> Registration:
    """Decide whether somebody may open an account, and return it in the form in which it is kept.

    Raises:
        InvalidEmail, PasswordTooWeak, PasswordTooLong, UnknownCountry, InvalidBirthDate, UnderAge,
        CurrencyNotOffered: each with the field at fault.
    """
    normal = normal_email(email)
    check_password(password, email=normal)
    if country not in COUNTRIES:
        raise UnknownCountry(field="country")
    age = age_years(birth_date, today)
    if not 0 <= age <= AGE_MAX_YEARS:
        raise InvalidBirthDate(field="birth_date")
    if age < AGE_MIN_YEARS:
        raise UnderAge(field="birth_date")
    if currency not in currencies:
        raise CurrencyNotOffered(f"Wallets are offered in {', '.join(sorted(currencies))}.", field="currency")
    return Registration(normal, country, birth_date, currency)

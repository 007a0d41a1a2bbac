"""Money: an exact amount with its currency. Floats never enter."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from countroom.refusal import Refusal

EXPONENTS: Final = {
    # ISO 4217 minor units of the currencies that a column of decimal(18,2) can hold.
    "AUD": 2, "BRL": 2, "CAD": 2, "CHF": 2, "CZK": 2, "DKK": 2, "EUR": 2, "GBP": 2, "HUF": 2,
    "INR": 2, "ISK": 0, "JPY": 0, "KRW": 0, "MXN": 2, "NOK": 2, "NZD": 2, "PLN": 2, "RON": 2,
    "SEK": 2, "TRY": 2, "UAH": 2, "USD": 2, "ZAR": 2,
}  # fmt: skip
THREE_DECIMALS: Final = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
ZERO: Final = Decimal("0.00")
AMOUNT_MAX: Final = Decimal("9999999999999999.99")
"""What decimal(18,2) holds."""

_PLAIN_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,16})?", re.ASCII)


class InvalidAmount(Refusal):
    """The amount is not a plain decimal string that fits its currency."""

    kind = "invalid"
    code = "invalid_amount"


class UnknownCurrency(Refusal):
    """This currency is not one that Countroom can hold."""

    kind = "invalid"
    code = "unknown_currency"


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount in a currency's main unit."""

    amount: Decimal
    currency: str

    @classmethod
    def parse(cls, text: str, currency: str, *, field: str = "amount") -> Self:
        """Read a plain decimal string (``12``, ``12.5``, ``12.50``) in the currency's main unit.

        Exponents, signs, spaces and digits beyond the currency's exponent are refused rather
        than rounded; trailing zeros beyond it are the same number and are accepted.

        Raises:
            InvalidAmount: not a plain decimal, or finer than the currency, or too large.
            UnknownCurrency: the currency cannot be held.
        """
        if currency not in EXPONENTS:
            raise UnknownCurrency(f"Currency {currency!r} is not supported.", field="currency")
        if not _PLAIN_DECIMAL.fullmatch(text):
            raise InvalidAmount("An amount is a plain decimal string such as '12.50'.", field=field)
        amount = Decimal(text)
        quantized = amount.quantize(unit(currency))
        if quantized != amount:
            raise InvalidAmount(f"{currency} has {EXPONENTS[currency]} decimals; the amount is finer.", field=field)
        return cls(quantized, currency)

    def __str__(self) -> str:
        """Return the amount at its currency's exponent, and the currency."""
        return f"{self.amount} {self.currency}"


_UNITS: Final = {0: Decimal(1), 1: Decimal("0.1"), 2: Decimal("0.01")}


def unit(currency: str) -> Decimal:
    """Return the smallest amount of a currency: ``0.01``, or ``1`` where there are no cents."""
    return _UNITS[EXPONENTS[currency]]


def format_amount(amount: Decimal, currency: str) -> str:
    """Return an amount as a decimal string at its currency's exponent (``'12.50'``, ``'120'``)."""
    return str(amount.quantize(unit(currency)))

"""What the API's documentation says about refusals, and amounts as they come in."""

from typing import Annotated, Any, Final

import msgspec
from litestar.openapi.datastructures import ResponseSpec

from countroom.money import InvalidAmount

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
PLAYER_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}]
"""Names the scheme that the application declares."""

_MEANINGS: Final = {
    400: "The request is wrong; `field` names what is at fault.",
    401: "Nobody known is asking.",
    403: "Not allowed.",
    404: "There is no such thing.",
    409: "It contradicts what is already there.",
    429: "Too often; the header Retry-After says how many seconds to wait.",
    503: "Try again later.",
}


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A refusal, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    """Stable: programs may depend on it."""
    field: str | None = None
    """Which field of the request is at fault."""


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the documentation of these refusals."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            description=_MEANINGS[status],
            media_type=PROBLEM_MEDIA_TYPE,
            generate_examples=False,
        )
        for status in statuses
    }


class AmountText(str):
    """A JSON string that should be an amount. A JSON number is refused: it may have been rounded on its way."""

    __slots__ = ()

    @staticmethod
    def _decoder(target_type: type["AmountText"], value: Any) -> "AmountText":
        """Take a string only; the framework finds this method by its name."""
        if not isinstance(value, str):
            raise InvalidAmount(field="amount")
        return target_type(value)


Amount = Annotated[
    AmountText,
    msgspec.Meta(
        extra_json_schema={
            "description": "A plain decimal string in the currency's main unit.",
            "examples": ["12.50"],
            "extra": {"type": "string"},
        }
    ),
]

"""The base of every expected "no". Anything else that is raised is a bug."""

from typing import ClassVar, Literal

Kind = Literal[
    "invalid",  # the request itself is wrong: 400
    "unauthenticated",  # nobody known is asking: 401
    "forbidden",  # known, and not allowed: 403
    "missing",  # there is no such thing: 404
    "conflict",  # it contradicts what is already there: 409
    "limited",  # too often: 429
    "unavailable",  # try again later: 503
]


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """An expected "no": a kind for the web layer, a stable code, a sentence, the field at fault.

    The sentence may be shown to the caller. Without one, the first line of the class's
    docstring is used.
    """

    kind: ClassVar[Kind]
    code: ClassVar[str]

    def __init__(self, sentence: str | None = None, *, field: str | None = None) -> None:
        doc = (self.__doc__ or self.code).strip().splitlines()[0]
        self.sentence = sentence or doc
        self.field = field
        super().__init__(self.sentence)

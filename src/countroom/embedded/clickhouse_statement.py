"""Reading just enough of a ClickHouse statement: what kind it is, where its data begins, what must be refused."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

REFUSED_ENGINES: Final = frozenset({"kafka"})
"""The embedded engine accepts such a table, and can then never open the data folder again."""
STREAMED_FORMATS: Final = frozenset({"Native", "TabSeparated", "TSV", "CSV", "JSONEachRow", "RowBinary"})
"""Formats without head or foot: pieces of a result, one after the other, are the result.

Of the others the engine writes a head for every piece, so that their results are made whole.
"""
READING: Final = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "("})
STREAMABLE: Final = frozenset({"SELECT", "WITH", "("})
FORMAT_AT_THE_END: Final = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*\Z", re.IGNORECASE)

_TOKEN: Final = re.compile(
    rb"""
      (?P<space>   \s+ | --[^\n]* | //[^\n]* | \#[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<text>    '(?:[^'\\]|\\.|'')*(?:'|\Z) )
    | (?P<quoted>  `(?:[^`\\]|\\.|``)*(?:`|\Z) | "(?:[^"\\]|\\.|"")*(?:"|\Z) )
    | (?P<word>    [A-Za-z_][A-Za-z_0-9]* )
    | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of a statement that means something, and where it ends."""

    kind: str
    text: str
    end: int


class InsertHead(NamedTuple):
    """The part of an INSERT before its data."""

    statement: str
    """Without the FORMAT clause."""
    data_format: str
    data_begins: int


class RefusedStatement(Exception):  # noqa: N818 - it answers a request, like a Refusal, with ClickHouse's own numbers
    """A statement that the embedded engine must not see; shown with ClickHouse's code 344, SUPPORT_IS_DISABLED."""

    code: Final = 344


def tokens(statement: bytes) -> Iterator[Token]:
    """Split a statement; spaces and comments, all four kinds of them, are left out."""
    for match in _TOKEN.finditer(statement):
        kind = match.lastgroup or "other"
        if kind != "space":
            yield Token(kind, match[0].decode(errors="replace"), match.end())


def first_word(statement: bytes) -> str:
    """Return the first word in capitals, ``(`` for a bracketed SELECT, or nothing."""
    return next((token.text.upper() for token in tokens(statement)), "")


def insert_head(statement: bytes) -> InsertHead | None:
    """Return the head of an ``INSERT … FORMAT x`` whose data follows; None for any other statement.

    An INSERT with VALUES or SELECT is whole by itself.
    """
    depth = 0
    before = 0
    pieces = tokens(statement)
    if next(pieces, Token("", "", 0)).text.upper() != "INSERT":
        return None
    for token in pieces:
        if token.text == "(":
            depth += 1
        elif token.text == ")":
            depth -= 1
        elif depth == 0 and token.kind == "word":
            word = token.text.upper()
            if word in {"VALUES", "SELECT", "WITH", "WATCH"}:
                return None
            if word == "FORMAT":
                name = next(pieces, None)
                if name is None or name.kind != "word":
                    return None
                return InsertHead(statement[:before].decode(), name.text, _skip_line_end(statement, name.end))
        before = token.end
    return None


def _skip_line_end(statement: bytes, position: int) -> int:
    """Pass over the blanks after the format's name up to and with one line end: what follows are bytes of data."""
    match = re.compile(rb"[ \t]*(?:;[ \t]*)?(?:\r?\n)?").match(statement, position)
    return match.end() if match else position


def output_format(sql: str, default: str) -> str:
    """Return the format in which a statement wants its answer."""
    named = FORMAT_AT_THE_END.search(sql)
    return named[1] if named else default


def refuse_what_would_brick(statement: bytes) -> None:
    """Refuse a table of an engine after which the data folder could never be opened again.

    Raises:
        RefusedStatement: naming the engine.
    """
    lowered = statement.lower()
    # A quoted name may spell its letters as escapes, so a backslash makes us look as well.
    if b"engine" not in lowered or not (b"kafka" in lowered or b"\\" in statement):
        return
    pieces = tokens(statement)
    for token in pieces:
        if token.kind != "word" or token.text.upper() != "ENGINE":
            continue
        name = next(pieces, None)
        if name is not None and name.text == "=":
            name = next(pieces, None)
        if name is None:
            return
        bare = name.text.strip('`"')
        if bare.lower() in REFUSED_ENGINES or (name.kind == "quoted" and "\\" in bare):
            raise RefusedStatement(
                f"Code: {RefusedStatement.code}. DB::Exception: The embedded ClickHouse refuses ENGINE = {bare}: its "
                "data folder could never be opened again. Use `countroom load` to read from Kafka, or set "
                "CLICKHOUSE_URL to a real server. (SUPPORT_IS_DISABLED)"
            )

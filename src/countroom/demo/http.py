"""Just enough HTTP for two small services: a plain ASGI application with a table of routes."""

import asyncio
import html
import re
import string
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
import structlog

BODY_BYTES_MAX: Final = 64 * 1024
"""Nothing that is sent to a sandbox is longer."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Shape = TypeVar("Shape")

log = structlog.get_logger("countroom.demo")


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose body has arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def wants_a_page(self) -> bool:
        """Whether a person is asking: browsers name text/html, programs do not."""
        return "text/html" in self.headers.get("accept", "")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Iterator[bytes] | None = None
    """Instead of a body: a long one, made while it is sent; no length is told then."""


class Wrong(Exception):  # noqa: N818 - an answer, like a Refusal; strangers share no base with Countroom
    """The request is refused: a status, a stable code and a sentence."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        self.status = status
        self.code = code
        self.sentence = sentence
        super().__init__(sentence)


Handler = Callable[..., Awaitable[Response]]
"""Takes the request and the path's parameters by name."""


class Application:
    """An ASGI application: the first route that fits answers."""

    def __init__(self, routes: list[tuple[str, str, Handler]]) -> None:
        """Take routes as (method, path with ``{names}``, handler)."""
        self._routes = [(method, _pattern(path), handler) for method, path, handler in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert scope["type"] == "http"
        try:
            response = await self._answer(await _read(scope, receive))
        except Wrong as wrong:
            response = json({"error": {"code": wrong.code, "message": wrong.sentence}}, status=wrong.status)
        except Exception:
            log.exception("sandbox_failed", path=scope["path"])
            response = json({"error": {"code": "internal", "message": "The sandbox failed."}}, status=500)
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff", **response.headers}
        if response.pieces is None:
            headers["content-length"] = str(len(response.body))
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
            }
        )
        for piece in response.pieces or ():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # others wait, too
        await send({"type": "http.response.body", "body": response.body})

    async def _answer(self, request: Request) -> Response:
        fitting = [(method, match, handler) for method, pattern, handler in self._routes
                   if (match := pattern.fullmatch(request.path))]  # fmt: skip
        for method, match, handler in fitting:
            if method == request.method:
                return await handler(request, **match.groupdict())
        if fitting:
            raise Wrong(405, "method_not_allowed", f"{request.method} is not answered here.")
        raise Wrong(404, "not_found", "There is nothing at this address.")


def json(value: object, *, status: int = 200) -> Response:
    """Answer with JSON."""
    return Response(status, msgspec.json.encode(value), {"content-type": "application/json"})


def page(name: str, values: Mapping[str, str], *, nonce: str = "", status: int = 200) -> Response:
    """Answer with a page of ``pages/``; every value is escaped, whatever a stranger put into it."""
    template = string.Template(resources.files(__package__).joinpath("pages", name).read_text())
    text = template.substitute({key: html.escape(value) for key, value in values.items()}, nonce=nonce)
    scripts = f"'nonce-{nonce}'" if nonce else "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {scripts}; connect-src 'self'"
    headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": policy}
    return Response(status, text.encode(), headers)


def decode_json(body: bytes, shape: type[Shape]) -> Shape:
    """Read a JSON body of a known shape.

    Raises:
        Wrong: 400, naming the field at fault.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Wrong(400, "invalid_body", str(error)) from error


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[A-Za-z0-9_-]{1,100})", path))


async def _read(scope: Scope, receive: Receive) -> Request:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Wrong(400, "incomplete", "The request ended before its body did.")
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise Wrong(413, "too_large", f"A body has at most {BODY_BYTES_MAX} bytes.")
        if not message.get("more_body", False):
            break
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=bytes(body),
    )

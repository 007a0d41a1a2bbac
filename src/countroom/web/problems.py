"""Every refusal on our own API as `application/problem+json` (RFC 9457), with a stable code."""

import re
from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from countroom.refusal import Kind, Refusal

STATUS: Final[dict[Kind, int]] = {
    "invalid": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "missing": 404,
    "conflict": 409,
    "limited": 429,
    "unavailable": 503,
}
"""The one place where a kind of refusal becomes an HTTP status."""
_TITLES: Final = {
    400: "Bad request", 401: "Not signed in", 403: "Not allowed", 404: "Not found", 405: "Method not allowed",
    409: "Conflict", 413: "Too large", 429: "Too many requests", 500: "Internal error", 503: "Unavailable",
}  # fmt: skip

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

_MISSING_FIELD: Final = re.compile(r"missing required field `([^`]+)`")

_log = structlog.get_logger()


def problem(
    status: int, code: str, detail: str, *, field: str | None = None, headers: dict[str, str] | None = None
) -> Response[dict[str, Any]]:
    """Make the answer to a request that is refused."""
    content: dict[str, Any] = {
        "type": f"urn:countroom:problem:{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
    }
    if field is not None:
        content["field"] = field
    return Response(content, status_code=status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def on_refusal(_: Request[Any, Any, Any], refusal: Refusal) -> Response[dict[str, Any]]:
    """Answer an expected no."""
    status = STATUS[refusal.kind]
    headers = {}
    if status == STATUS["unauthenticated"]:
        headers["WWW-Authenticate"] = "Bearer"
    if retry := getattr(refusal, "retry_after_seconds", None):
        headers["Retry-After"] = str(retry)
    return problem(status, refusal.code, refusal.sentence, field=refusal.field, headers=headers)


def on_http_exception(_: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Answer what the framework refuses: an unknown address, a body that does not fit."""
    if isinstance(error, ValidationException):
        field, detail = _fault(error)
        return problem(400, "invalid_request", detail, field=field)
    codes = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    return problem(error.status_code, codes.get(error.status_code, "refused"), error.detail or "Refused.")


def on_deep_nesting(_: Request[Any, Any, Any], __: RecursionError) -> Response[dict[str, Any]]:
    """Answer a body that the decoder gave up on."""
    return problem(400, "invalid_request", "The body is nested too deeply.")


def on_fault(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Answer a bug: nothing about it leaves the process."""
    _log.exception("a request failed", path=request.url.path, exc_info=error)
    return problem(500, "internal_error", "Something went wrong on our side; it has been recorded.")


def _fault(error: ValidationException) -> tuple[str | None, str]:
    """Return the field at fault, where the framework's words name it, and what is wrong with it."""
    extra = error.extra
    if not (isinstance(extra, list) and extra and isinstance(extra[0], dict)):
        return None, error.detail
    message = str(extra[0].get("message", error.detail))
    missing = _MISSING_FIELD.search(message)
    if missing is not None:
        return missing[1], message
    key = extra[0].get("key")
    return str(key) if key and key != "data" else None, message

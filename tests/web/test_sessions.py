"""Which requests a browser may have been made to send by another site, and whose tokens are whose."""

import pytest
from litestar.testing import RequestFactory

from countroom.web import sessions

FACTORY = RequestFactory(server="casino.test", port=8000)
HOST = {"host": "casino.test:8000"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://casino.test:8000"},
        {"origin": "https://casino.test:8000"},
        {"origin": "http://CASINO.test:8000"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_our_own_pages_may_ask_for_changes(headers: dict[str, str]) -> None:
    sessions.refuse_cross_site(FACTORY.post("/", headers=HOST | headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://casino.test"},
        {"origin": "http://casino.test:8000.evil.test"},
        {"origin": "http://evil.test", "sec-fetch-site": "same-origin"},
        {"origin": "file://casino.test:8000"},
        {"origin": "http://[casino.test:8000"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_other_sites_may_not(headers: dict[str, str]) -> None:
    for request in (FACTORY.post("/", headers=HOST | headers), FACTORY.delete("/", headers=HOST | headers)):
        with pytest.raises(sessions.CrossSite):
            sessions.refuse_cross_site(request)


def test_reading_is_free() -> None:
    sessions.refuse_cross_site(FACTORY.get("/", headers=HOST | {"origin": "http://evil.test"}))


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("", None),
    ],
)
def test_a_bearer_token_is_read_from_its_header(header: str, token: str | None) -> None:
    assert sessions.bearer_token(FACTORY.get("/", headers={"authorization": header})) == token


def test_the_staffs_cookie_is_kept_from_scripts_and_other_sites() -> None:
    cookie = sessions.staff_cookie(FACTORY.post("/"), "token").to_header(header="")

    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    https = RequestFactory(server="casino.test", scheme="https").post("/")
    assert "Secure" in sessions.staff_cookie(https, "token").to_header(header="")

"""The door of the back office: who comes in, and what another site can do about it."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
from litestar import Litestar
from litestar.testing import AsyncTestClient

from browser.played import Casino
from countroom.web.app import create_app

ADDRESS = "http://back.office"


@pytest_asyncio.fixture(loop_scope="session")
async def client(casino: Casino) -> AsyncIterator[AsyncTestClient[Litestar]]:
    async with AsyncTestClient(create_app(casino.settings), base_url=ADDRESS) as client:
        yield client


async def test_nobody_sees_the_board_without_signing_in(client: AsyncTestClient[Litestar]) -> None:
    for path in ("/", "/backoffice"):
        answer = await client.get(path, follow_redirects=True)
        assert answer.url.path == "/backoffice/sign-in"
        assert answer.status_code == 200
    for path in ("/backoffice/fragments/tiles", "/backoffice/fragments/nothing", "/backoffice/chart.json"):
        answer = await client.get(path)
        assert answer.status_code == 401
        assert "value" not in answer.text


async def test_a_wrong_password_is_refused_in_words(client: AsyncTestClient[Litestar], casino: Casino) -> None:
    answer = await _sign_in(client, casino.email, "not this one")

    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert casino.email in answer.text
    assert "not this one" not in answer.text
    assert "set-cookie" not in answer.headers


async def test_what_was_typed_comes_back_as_text_and_never_as_markup(client: AsyncTestClient[Litestar]) -> None:
    answer = await _sign_in(client, '"><script src="/x"></script>', "x")

    assert '<script src="/x">' not in answer.text


async def test_another_site_signs_nobody_in_or_out(client: AsyncTestClient[Litestar], casino: Casino) -> None:
    assert (await _sign_in(client, casino.email, casino.password, origin="https://evil.example")).status_code == 403
    assert (await _sign_in(client, casino.email, casino.password, origin="")).status_code == 403

    entered = await _sign_in(client, casino.email, casino.password)

    assert entered.status_code == 303
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "SameSite=strict" in entered.headers["set-cookie"]
    out = await client.post("/backoffice/sign-out", headers={"Origin": "https://evil.example"})
    assert out.status_code == 403
    assert (await client.get("/backoffice", follow_redirects=False)).status_code == 200
    out = await client.post("/backoffice/sign-out", headers={"Origin": ADDRESS}, follow_redirects=False)
    assert out.status_code == 303
    assert (await client.get("/backoffice", follow_redirects=False)).status_code == 303


async def test_pages_hold_nothing_inline_and_are_not_kept(client: AsyncTestClient[Litestar], casino: Casino) -> None:
    await _sign_in(client, casino.email, casino.password)
    for path in ("/backoffice/sign-in", "/backoffice"):
        page = await client.get(path, follow_redirects=True)

        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=", page.text)


async def test_static_files_are_kept_under_an_address_that_changes_with_them(
    client: AsyncTestClient[Litestar], casino: Casino
) -> None:
    await _sign_in(client, casino.email, casino.password)
    page = await client.get("/backoffice")
    addresses = re.findall(r'(?:href|src)="(/backoffice/static/[^"]+)"', page.text)

    assert len(addresses) > 5
    for address in addresses:
        answer = await client.get(address)
        assert answer.status_code == 200
        assert re.fullmatch(r".*\?v=[0-9a-f]{12}", address)
        assert "immutable" in answer.headers["cache-control"]


async def _sign_in(
    client: AsyncTestClient[Litestar], email: str, password: str, origin: str = ADDRESS
) -> httpx.Response:
    return await client.post(
        "/backoffice/sign-in",
        data={"email": email, "password": password},
        headers={"Origin": origin} if origin else {},
        follow_redirects=False,
    )

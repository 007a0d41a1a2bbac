"""Rounds for the staff: one call tells all, one page shows it, and ending one takes two people by either way."""

from decimal import Decimal
from typing import Any

import httpx

from countroom.clock import new_id
from countroom.players import staff
from countroom.schema.enumerations import StaffRole
from countroom.wallet.commands import Bet, Win
from serving import Served


async def sign_in(served: Served, name: str, role: StaffRole) -> dict[str, str]:
    """Add somebody of the staff; return the headers of their requests."""
    who = {"email": f"{name}@example.test"}
    password = await staff.add(served.casino.database, name=name.title(), role=role, **who)
    answer = await served.http.post("/api/v1/staff/sign-in", json=who | {"password": password})
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def said(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json().get("code")


async def test_a_round_is_told_and_ended_by_the_api(served: Served) -> None:
    ada, bob = await sign_in(served, "ada", "support"), await sign_in(served, "bob", "cashier")
    player = await served.casino.player(main="5.00", bonus="5.00")
    round_id = (await player.apply(Bet("b", Decimal(6)), round_key="<r&1>")).round_id
    round_url, token = f"/api/v1/rounds/{round_id}", f"/api/v1/rounds/{new_id()}"
    assert (await served.http.get("/api/v1/rounds/unfinished", headers=ada)).json() == {"rounds": [], "has_more": False}
    assert said(await served.http.get(token, headers=ada)) == (404, "unknown_round")
    assert said(await served.http.get(round_url)) == (401, "not_signed_in")

    told = (await served.http.get(round_url, headers=ada)).json()
    assert (told["round"]["status"], told["round"]["bet_amount"], told["round"]["bet_bonus_amount"]) == (
        "open", "6.00", "1.00",
    )  # fmt: skip
    (step,) = told["steps"]
    assert (step["external_id"], step["balance"]) == ("sandbox:b", "4.00")
    assert [(line["wallet_type"], line["amount"], line["balance_after"]) for line in step["entries"]] == [
        ("bonus", "-1.00", "4.00"), ("main", "-5.00", "0.00"),
    ]  # fmt: skip

    void = {"action": "cancel", "reason": "the provider says so"}
    assert said(await served.http.post(f"{round_url}/closings", headers=ada, json=void | {"reason": ""})) == (
        400, "reason_missing",
    )  # fmt: skip
    closing = (await served.http.post(f"{round_url}/closings", headers=ada, json=void)).json()["id"]
    decision = f"/api/v1/round-closings/{closing}/decision"
    assert said(await served.http.post(decision, headers=ada, json={"decision": "approved"})) == (403, "not_your_role")
    told = (await served.http.post(decision, headers=bob, json={"decision": "approved"})).json()
    assert (told["round"]["status"], told["round"]["bet_amount"]) == ("cancelled", "0.00")
    assert [(step["kind"], step["status"], step["amount"]) for step in told["steps"]] == [
        ("bet", "cancelled", "6.00"), ("reversal", "reversed", "6.00"),
    ]  # fmt: skip
    assert [line["action"] for line in told["audit"]] == ["cancel proposed", "cancel approved"]
    assert (await player.balances())[:2] == ("5.00", "5.00")


async def test_the_pages_show_it_and_say_why_something_is_refused(served: Served) -> None:
    ada, bob = await sign_in(served, "ada", "admin"), await sign_in(served, "bob", "admin")
    player = await served.casino.player(main="5.00")
    round_id = (
        await player.apply(Bet("<b&1>", Decimal(2)), Win("w", Decimal(1), award="grand"), round_key="<r&1>")
    ).round_id
    url = f"/backoffice/rounds/{round_id}"
    found = await served.http.get("/backoffice/rounds?find=<r%261>", headers=ada)
    assert (found.status_code, found.headers["location"]) == (303, url)
    assert "No round has this id" in (await served.http.get("/backoffice/rounds?find=%00", headers=ada)).text
    assert "has ended" in (await served.http.get("/backoffice/rounds?after=nonsense", headers=ada)).text
    for missing in ("nonsense", new_id()):
        assert (await served.http.get(f"/backoffice/rounds/{missing}", headers=ada)).status_code == 404
    shown = await served.http.get(url, headers=ada)
    assert "&lt;b&amp;1&gt;" in shown.text
    assert "1.00 of it grand" in shown.text
    assert "<b&1>" not in shown.text
    refused = await served.http.post(f"{url}/closings", headers=ada, data={"action": "cancel", "reason": "<void>"})
    assert (refused.status_code, "A win stands in this round" in refused.text) == (409, True)
    assert "&lt;void&gt;" in refused.text  # what was typed is still there
    proposed = await served.http.post(f"{url}/closings", headers=ada, data={"action": "settle", "reason": "lost"})
    assert (proposed.status_code, proposed.headers["location"]) == (303, url)
    (closing,) = await served.casino.database.fetch("SELECT id FROM round_closings")
    decide = f"{url}/closings/{closing['id']}"
    refused = await served.http.post(decide, headers=ada, data={"decision": "approved"})
    assert (refused.status_code, "four eyes" in refused.text) == (403, True)
    assert (await served.http.post(decide, headers=bob, data={"decision": "approved"})).status_code == 303
    shown = await served.http.get(url, headers=bob)
    assert 'id="status">settled<' in shown.text
    assert "settle approved" in shown.text
    assert (await served.http.post(decide, headers=bob, data={"decision": "rejected"})).status_code == 409

"""The console of providers: test calls in every dialect, keys rotated while calls come, and what is kept of those."""

import re
from dataclasses import dataclass

import httpx

from casino import SECRET_KEY
from contract_table import open_providers
from countroom.players import staff
from countroom.schema.enumerations import StaffRole
from countroom.settings import Settings
from provider_callers import CALLERS, Caller, Seat
from serving import Served, serving

PAGE = "/backoffice/providers"


@dataclass
class Desk:
    """Somebody of the staff."""

    served: Served
    headers: dict[str, str]

    async def get(self, path: str) -> httpx.Response:
        return await self.served.http.get(PAGE + path, headers=self.headers)

    async def post(self, path: str, **data: str) -> httpx.Response:
        return await self.served.http.post(PAGE + path, headers=self.headers, data=data)


async def sign_in(served: Served, name: str, role: StaffRole) -> Desk:
    who = {"email": f"{name}@example.test"}
    password = await staff.add(served.casino.database, name=name.title(), role=role, **who)
    answer = await served.http.post("/api/v1/staff/sign-in", json=who | {"password": password})
    return Desk(served, {"Authorization": f"Bearer {answer.json()['token']}"})


async def test_the_console_of_every_dialect(settings: Settings) -> None:
    async with serving(settings, open_providers) as served:
        ada, eve = await sign_in(served, "ada", "admin"), await sign_in(served, "eve", "analyst")
        player = await served.casino.player(main="10.00")
        seats = {dialect: await caller(served).sit(player) for dialect, caller in CALLERS.items()}
        before = await served.casino.everything()
        for dialect in CALLERS:
            await _a_test_call_moves_nothing(ada, eve, f"/a-{dialect}", dialect)
        assert await served.casino.everything() == before
        bob = await sign_in(served, "bob", "cashier")
        for dialect, caller in CALLERS.items():
            await _what_comes_after_the_staff_has_ended_a_round(ada, bob, caller(served), seats[dialect])
        for dialect, caller in CALLERS.items():
            await _keys_are_rotated_while_calls_come(ada, eve, caller(served), seats[dialect])
        await _what_was_called_is_shown(ada, served)
        await _and_counted_for_prometheus(served)


async def _a_test_call_moves_nothing(ada: Desk, eve: Desk, path: str, dialect: str) -> None:
    answered = await ada.post(f"{path}/test-call")
    assert answered.status_code == 200
    if dialect == "hub88":  # only the provider has the private key
        assert "must be refused" in answered.text
        assert "RS_ERROR_INVALID_SIGNATURE" in answered.text
        assert "no-token" not in answered.text
    else:
        assert "The signature holds" in answered.text
        assert re.search("&#34;balance&#34;: (&#34;10.00&#34;|1000\\b)", answered.text), answered.text
        assert "•••• (64 characters)" in answered.text
    refused = await eve.post(f"{path}/test-call")
    assert (refused.status_code, "may not do this" in refused.text) == (403, True)


async def _what_comes_after_the_staff_has_ended_a_round(ada: Desk, bob: Desk, caller: Caller, seat: Seat) -> None:
    """A late win is paid as the dialect says, a late bet is refused, and a bet goes back once."""
    for action in ("settle", "cancel"):
        assert (await caller.bet(seat, f"{action} b", "0.10", action)).word == caller.OK
        await ended(ada, bob, caller.id(action), action)
        late = await caller.win(seat, f"{action} w", "0.10", action, bet=f"{action} b")
        is_lost = action == "cancel" and caller.policies.win_without_bet == "refused"
        assert late.word == (caller.word("rolled_back") if is_lost else caller.OK)
    assert (await caller.bet(seat, "late", "0.10", "settle")).word == caller.word("round_closed")
    again = await caller.reverse(seat, "x", "cancel b", "0.10", "cancel")
    is_refused = caller.policies.second_reversal == "refused"
    assert again.word == (caller.word("rolled_back") if is_refused else caller.OK)


async def ended(ada: Desk, bob: Desk, external_id: str, action: str) -> None:
    (row,) = await ada.served.casino.database.fetch("SELECT id FROM game_rounds WHERE external_id = $1", external_id)
    proposed = await ada.served.http.post(
        f"/api/v1/rounds/{row['id']}/closings", headers=ada.headers, json={"action": action, "reason": "lost"}
    )
    decision = f"/api/v1/round-closings/{proposed.json()['id']}/decision"
    told = await bob.served.http.post(decision, headers=bob.headers, json={"decision": "approved"})
    assert told.json()["round"]["status"] == {"settle": "settled", "cancel": "cancelled"}[action], told.text
    await ada.served.recorder.flush()
    shown = await ada.served.http.get(f"/backoffice/rounds/{row['id']}", headers=ada.headers)
    assert "Raw calls that name it" in shown.text


async def _keys_are_rotated_while_calls_come(ada: Desk, eve: Desk, old: Caller, seat: Seat) -> None:
    path = f"/{old.code}"
    new = type(old)(old.served, key_number=1)
    new_key = new.keys(1)[1]
    assert (await new.bet(seat, "b", "0.10")).word == old.word("bad_signature")
    assert (await old.bet(seat, "b", "0.10")).word == old.OK
    assert (await eve.post(f"{path}/keys", key=new_key)).status_code == 403
    assert (await ada.post(f"{path}/keys", key="short")).status_code == 400
    (only,) = re.findall(r'key-print">(\w+)<', (await ada.get(path)).text)
    refused = await ada.post(f"{path}/keys/retire", print=only)
    assert (refused.status_code, "only key" in refused.text) == (409, True)

    added = await ada.post(f"{path}/keys", key=new_key)
    assert added.status_code == 303, added.text
    assert (await ada.post(f"{path}/keys", key=new_key)).status_code == 409
    assert (await new.bet(seat, "b", "0.10")).word == (await old.bet(seat, "b2", "0.10", "r2")).word == old.OK
    assert (await eve.post(f"{path}/keys/retire", print=only)).status_code == 403
    assert (await ada.post(f"{path}/keys/retire", print="nonsense")).status_code == 404
    assert (await ada.post(f"{path}/keys/retire", print=only)).status_code == 303
    assert (await old.bet(seat, "b3", "0.10")).word == old.word("bad_signature")
    assert (await new.bet(seat, "b3", "0.10", "r3")).word == old.OK
    shown = (await ada.get(path)).text
    assert new_key not in shown
    assert re.search("added .* by Ada", shown)
    assert f"key retired {only}" in shown


async def _what_was_called_is_shown(ada: Desk, served: Served) -> None:
    recorder = served.recorder
    await recorder.flush()
    listed = (await ada.get("")).text
    assert all(f"provider-a-{dialect}" in listed for dialect in CALLERS)
    shown = (await ada.get("/a-softswiss-v2?calls=refused")).text
    assert "betwin · OK" in shown
    assert "betwin · 403" in shown
    assert "POST /providers/a-softswiss-v2/betwin" in shown
    assert (await ada.get("/a-softswiss-v2/figures")).text.count("<rect") >= 2
    assert (await ada.get("/nobody")).status_code == 404
    made = await ada.post("/a-gcp-v1/keys", key="")
    (key,) = re.findall("<code>([\\w-]{43})</code>", made.text)
    assert key not in (await ada.get("/a-gcp-v1")).text
    logged = await served.casino.database.fetch("SELECT details::text FROM audit_log")
    assert len(logged) == (4 + 2) * len(CALLERS) + 1 + 3  # closings, keys, the one made here, and the staff
    assert not [row for row in logged if key in row["details"] or SECRET_KEY in row["details"]]


async def _and_counted_for_prometheus(served: Served) -> None:
    told = (await served.http.get("/metrics")).text
    assert re.search(
        r'^countroom_callbacks_total\{action="betwin",code="403",provider="a-softswiss-v2"\} [1-9]', told, re.MULTILINE
    )
    assert re.search(r'^countroom_callback_seconds_bucket\{le="0.8",provider="a-hub88"\} [1-9]', told, re.MULTILINE)
    assert re.search(r'^countroom_callback_seconds_count\{provider="a-hub88"\} [1-9]', told, re.MULTILINE)

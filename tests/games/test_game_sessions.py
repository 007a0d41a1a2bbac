"""Game sessions: how they are launched, exchanged, replaced and ended; bets need an open one, wins never do."""

import asyncio
import hashlib
import json
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from casino import Casino, Player
from countroom import clock
from countroom.games import service as games
from countroom.games.rules import AlreadyPlaying, GameUnavailable, HousePolicy, MayNotPlay
from countroom.refusal import Refusal
from countroom.wallet.refusals import NoOpenSession
from provider_callers import CALLERS, Caller, Hub88Caller
from serving import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSED = HousePolicy(second_session="refused")


async def _ended(casino: Casino, user_id: UUID) -> list[tuple[str, str | None]]:
    rows = await casino.database.fetch(
        "SELECT status, ended_because, closed_at FROM game_sessions WHERE user_id = $1 ORDER BY opened_at, id", user_id
    )
    assert all((row["status"] == "open") == (row["closed_at"] is None) for row in rows)
    return [(row["status"], row["ended_because"]) for row in rows]


async def _lobby(stage: Served, caller: Caller, slug: str) -> None:
    await games.ensure_game(
        stage.casino.database, provider_code=caller.code, slug=slug, title=slug, volatility="low", genre="live"
    )
    await stage.catalog.refresh()


async def test_a_new_launch_ends_the_older_session_and_its_wins_still_come(stage: Served) -> None:
    player = await stage.casino.player(main="10.00")
    await player.bet("4.00", f"{player.id}-b1", f"{player.id}-r1")
    older = player.session_id

    await player.launch()

    assert await _ended(stage.casino, player.id) == [("closed", "replaced"), ("open", None)]
    await player.bet("1.00", f"{player.id}-b2", f"{player.id}-r2")
    player.session_id = older
    with pytest.raises(NoOpenSession):
        await player.bet("1.00", f"{player.id}-b3", f"{player.id}-r3")
    await player.win("7.00", f"{player.id}-w1", f"{player.id}-r1")
    assert str(await player.balance()) == "12.00"


async def test_of_ten_launches_at_once_one_is_open(stage: Served) -> None:
    player = await stage.casino.player()

    await asyncio.gather(*(player.launch() for _ in range(10)))

    assert sorted(await _ended(stage.casino, player.id)) == [("closed", "replaced")] * 10 + [("open", None)]


async def test_where_the_house_wants_one_session_the_second_launch_is_refused(stage: Served) -> None:
    player = await stage.casino.player()

    told = await asyncio.gather(*(player.launch(REFUSED) for _ in range(3)), return_exceptions=True)

    assert [type(one) for one in told] == [AlreadyPlaying] * 3
    assert await _ended(stage.casino, player.id) == [("open", None)]
    await games.launch(stage.casino.database, user_id=player.id, slug="hub88-game", currency="EUR", policy=REFUSED)


@pytest.mark.parametrize("status", ["blocked", "closed"])
async def test_who_may_not_play_has_no_open_session_from_that_moment_on(stage: Served, status: str) -> None:
    caller = Hub88Caller(stage)
    seat = await caller.sit(await stage.casino.player(main="10.00"))
    player = seat.player
    assert (await caller.bet(seat, "b1", "4.00")).word == caller.word("ok")

    await stage.casino.database.pool.execute("UPDATE users SET status = $2 WHERE id = $1", player.id, status)

    assert await _ended(stage.casino, player.id) == [("closed", "account")] * 2
    assert (await caller.bet(seat, "b2", "1.00", "r2")).word == caller.word("player_blocked")
    assert (await caller.win(seat, "w1", "9.00")).word == caller.word("ok")
    with pytest.raises(MayNotPlay):
        await player.launch()
    # What has ended does not begin again with the account.
    await stage.casino.database.pool.execute("UPDATE users SET status = 'active' WHERE id = $1", player.id)
    assert (await caller.bet(seat, "b2", "1.00", "r2")).word == caller.word("session_ended")


async def test_no_launch_slips_through_while_an_account_is_blocked(stage: Served) -> None:
    for _ in range(8):
        player = await stage.casino.player()
        await asyncio.gather(
            player.launch(),
            stage.casino.database.pool.execute("UPDATE users SET status = 'blocked' WHERE id = $1", player.id),
            player.launch(),
            return_exceptions=True,
        )
        assert {status for status, _ in await _ended(stage.casino, player.id)} == {"closed"}


async def test_an_exclusion_ends_every_session_in_its_own_transaction(stage: Served) -> None:
    player = await stage.casino.player(main="10.00")
    await games.launch(stage.casino.database, user_id=player.id, slug="hub88-game", currency="EUR")

    async with stage.casino.database.transaction() as tx:
        assert await games.end_sessions_of(tx, player.id, "exclusion") == 2

    assert await _ended(stage.casino, player.id) == [("closed", "exclusion")] * 2
    with pytest.raises(NoOpenSession):
        await player.bet("1.00", f"{player.id}-b1", f"{player.id}-r1")


async def test_the_batch_keeps_what_a_session_has_bet_and_won_and_when(stage: Served) -> None:
    player = await stage.casino.player(main="10.00", bonus="5.00")
    for number in range(3):
        await player.bet("4.00", f"{player.id}-b{number}", f"{player.id}-r{number}")
    await player.win("7.50", f"{player.id}-w0", f"{player.id}-r0")
    await player.reverse(f"{player.id}-b1", f"{player.id}-x1", f"{player.id}-r1")

    row = await stage.casino.database.fetchrow(
        "SELECT bet_amount, win_amount, last_played_at > opened_at AS is_played FROM game_sessions WHERE id = $1",
        player.session_id,
    )
    assert row is not None
    assert tuple(row) == (Decimal("8.00"), Decimal("7.50"), True)


async def test_time_ends_what_nobody_plays_and_what_has_lasted_too_long(stage: Served) -> None:
    casino = stage.casino
    hours = dict.fromkeys(("unused", "idle", "fresh", "played", "old"))
    players: dict[str, Player] = {name: await casino.player(main="10.00") for name in hours}
    for name in ("idle", "played", "old"):
        await players[name].bet("1.00", f"{players[name].id}-b1", f"{players[name].id}-r1")
    write = casino.database.pool.execute
    for name, opened, played in (("unused", 2, None), ("idle", 3, 2), ("played", 3, 0), ("old", 25, 0)):
        await write(
            "UPDATE game_sessions SET opened_at = now() - $2 * interval '1 hour', "
            "last_played_at = now() - $3 * interval '1 hour' WHERE user_id = $1", players[name].id, opened, played,
        )  # fmt: skip
    # In a lobby one game has been left for long, and the other is being played: the whole visit goes on.
    caller = Hub88Caller(stage)
    await _lobby(stage, caller, "a-table")
    seat = await caller.sit(await casino.player(main="10.00"))
    assert (await caller.bet(seat, "b1", "1.00", game="a-table")).word == caller.word("ok")
    await write("UPDATE game_sessions SET opened_at = now() - interval '2 hours' WHERE user_id = $1", seat.player.id)

    ended = await games.end_overdue_sessions(
        casino.database, idle=timedelta(hours=1), lifetime=timedelta(hours=24), now=clock.now()
    )

    assert ended == {"unused": 2, "idle": 1, "lifetime": 1}  # the lobby's player had launched another game before
    said = {name: (await _ended(casino, player.id))[0] for name, player in players.items()}
    assert said == {
        "unused": ("failed", "unused"), "idle": ("closed", "idle"), "fresh": ("open", None), "played": ("open", None),
        "old": ("closed", "lifetime"),
    }  # fmt: skip
    assert [status for status, _ in await _ended(casino, seat.player.id)] == ["failed", "open", "open"]
    await players["idle"].win("3.00", f"{players['idle'].id}-w1", f"{players['idle'].id}-r1")
    assert str(await players["idle"].balance()) == "12.00"


@pytest.mark.parametrize("dialect", CALLERS)
async def test_a_launch_token_is_exchanged_once_by_its_provider_in_every_dialect(stage: Served, dialect: str) -> None:
    caller = CALLERS[dialect](stage)
    seat = await caller.sit(await stage.casino.player(main="12.00"))

    async def ask(token: str, sign: Caller = caller) -> tuple[int, dict[str, object]]:
        body = json.dumps({"token": token}).encode()
        answer = await stage.http.post(
            f"/providers/{caller.code}/session", content=body, headers={**sign.signature(body)}
        )
        return answer.status_code, answer.json()

    other = CALLERS["gcp-v1" if dialect == "softswiss-v2" else "softswiss-v2"](stage)
    assert (await ask(seat.token, other))[1]["code"] == "bad_signature"
    assert (await ask("never given"))[0] == 404
    told = await asyncio.gather(*(ask(seat.token) for _ in range(4)))

    assert sorted(status for status, _ in told) == [200, 409, 409, 409]
    assert next(answer for status, answer in told if status == 200) == {
        "session_id": seat.session_id, "account_id": str(seat.player.id), "game_id": caller.game, "currency": "EUR",
        "country": "MT", "balance": "12.00",
    }  # fmt: skip
    assert {answer["code"] for status, answer in told if status == 409} == {"token_used"}
    # From here on the session goes by its own name, or by the token where the protocol carries that in each call.
    assert (await caller.bet(seat, "b1", "2.00")).word == caller.word("ok")
    foreign = await other.sit(seat.player)
    assert (await ask(foreign.token))[1]["code"] == "unknown_token"
    await stage.casino.database.pool.execute(
        "UPDATE game_sessions SET opened_at = now() - interval '6 minutes' WHERE id = $1::text::uuid",
        foreign.session_id,
    )
    with pytest.raises(Refusal) as refused:
        await games.exchange(stage.casino.database, provider_code=other.code, token=foreign.token)
    assert refused.value.code == "token_expired"


async def test_the_first_call_that_carries_a_token_uses_it_up(stage: Served) -> None:
    caller = Hub88Caller(stage)
    seat = await caller.sit(await stage.casino.player(main="10.00"))
    assert (await caller.balance(seat)).word == caller.word("ok")

    with pytest.raises(Refusal) as refused:
        await games.exchange(stage.casino.database, provider_code=caller.code, token=seat.token)

    assert refused.value.code == "token_used"
    row = await stage.casino.database.fetchrow(
        "SELECT token_used_at FROM game_sessions WHERE token_hash = $1", hashlib.sha256(seat.token.encode()).digest()
    )
    assert row is not None
    assert row["token_used_at"] is not None


async def test_going_into_another_game_from_a_lobby_is_a_launch(stage: Served) -> None:
    caller = Hub88Caller(stage)
    for slug in ("closed-table", "open-table"):
        await _lobby(stage, caller, slug)
    write = stage.casino.database.pool.execute
    await write("UPDATE games SET is_active = false WHERE slug = 'closed-table'")
    seat = await caller.sit(await stage.casino.player(main="10.00"))

    assert (await caller.bet(seat, "b1", "1.00", game="closed-table")).word == (200, "RS_ERROR_INVALID_GAME")
    assert (await caller.bet(seat, "b2", "1.00", "r2", game="open-table")).word == caller.word("ok")
    # Switched off, it is played on by who is in it, and launched by nobody.
    await write("UPDATE games SET is_active = false WHERE slug = 'open-table'")
    assert (await caller.bet(seat, "b3", "1.00", "r3", game="open-table")).word == caller.word("ok")
    with pytest.raises(GameUnavailable):
        await games.launch(stage.casino.database, user_id=seat.player.id, slug="open-table", currency="EUR")
    await write("UPDATE games SET is_active = true WHERE slug = 'open-table'")
    # Launched by itself, it replaces the table in the lobby, which then stays what it is: ended.
    direct = await caller.sit(seat.player, "open-table")
    assert (await caller.bet(seat, "b4", "1.00", "r4", game="open-table")).word == caller.word("session_ended")
    assert (await caller.bet(direct, "b5", "1.00", "r5", game="open-table")).word == caller.word("ok")
    assert [row[0] for row in await _ended(stage.casino, seat.player.id)] == ["open", "open", "closed", "open"]

"""The contract of every dialect, third part: who may call, who may play, and what is sent several at a time."""

import asyncio
import json
from decimal import Decimal

from contract_table import Scenarios, Table, scenario, set_keys
from countroom.games import service as games
from provider_callers import CALLERS


class Callers(Scenarios):
    @scenario
    async def test_p7_a_blocked_player_bets_no_more_and_is_paid(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.bet(seat, "b2", "5.00", "r2")
        await table.casino.database.pool.execute("UPDATE users SET status = 'blocked' WHERE id = $1", seat.player.id)
        table.says(await table.caller.bet(seat, "b3", "1.00", "r3"), "player_blocked", "85.00")
        table.says(await table.caller.win(seat, "w1", "4.00"), "ok", "89.00")
        table.says(await table.caller.reverse(seat, "x1", "b2", "5.00", "r2"), "ok", "94.00")

    @scenario
    async def test_p7_an_ended_session_takes_no_bets_and_is_paid(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.bet(seat, "b2", "5.00", "r2")
        await table.casino.database.pool.execute(
            "UPDATE game_sessions SET status = 'closed', closed_at = now() WHERE user_id = $1", seat.player.id
        )
        table.says(await table.caller.bet(seat, "b3", "1.00", "r3"), "session_ended", "85.00")
        table.says(await table.caller.win(seat, "w1", "4.00"), "ok", "89.00")
        table.says(await table.caller.reverse(seat, "x1", "b2", "5.00", "r2"), "ok", "94.00")

    @scenario
    async def test_a_session_that_nobody_opened_takes_no_bets(self, table: Table) -> None:
        seat, other = await table.seat(), await table.seat()
        for name in (str(table.caller.run), "nonsense", other.session_id if self.dialect != "swipegames" else "x"):
            told = await table.caller.bet(seat, "b1", "1.00", session_id=name)
            table.says(told, "unknown_session")
        await table.ends(seat, "100.00")

    @scenario
    async def test_a_session_of_another_provider_takes_no_bets(self, table: Table) -> None:
        seat = await table.seat()
        elsewhere = await table.caller.sit(seat.player, "lucky-sevens")
        name = elsewhere.token if self.dialect == "hub88" else elsewhere.session_id
        table.says(await table.caller.bet(seat, "b1", "1.00", session_id=name), "unknown_session")
        await table.ends(seat, "100.00")

    @scenario
    async def test_a_player_who_does_not_exist_is_refused(self, table: Table) -> None:
        seat = await table.seat()
        seat.player.id = table.caller.run
        table.says(await table.caller.balance(seat), "unknown_player")
        table.says(await table.caller.bet(seat, "b1", "1.00"), "unknown_player")

    @scenario
    async def test_a_game_that_does_not_exist_is_refused(self, table: Table) -> None:
        seat = await table.seat()
        table.says(await table.caller.bet(seat, "b1", "1.00", game="lucky-sevens"), "unknown_game")
        await table.ends(seat, "100.00")

    @scenario
    async def test_another_currency_than_the_players_is_refused(self, table: Table) -> None:
        seat = await table.seat()
        for currency in ("USD", "KWD"):
            table.says(await table.caller.bet(seat, "b1", "1.00", currency=currency), "wrong_currency")
        await table.ends(seat, "100.00")

    @scenario
    async def test_a_game_that_is_taken_off_settles_its_rounds(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        active = "UPDATE games SET is_active = $1 WHERE slug = $2"
        await table.casino.database.pool.execute(active, False, table.caller.game)
        await table.served.catalog.refresh()
        try:
            table.says(await table.caller.win(seat, "w1", "4.00"), "ok", "94.00")
        finally:
            await table.casino.database.pool.execute(active, True, table.caller.game)

    # Signatures ------------------------------------------------------------------------------

    @scenario
    async def test_p8_nothing_is_read_before_the_signature_holds(self, table: Table) -> None:
        seat = await table.seat()
        caller = table.caller
        action, content = caller.request("bet", seat, key=caller.id("b1"), amount="1.00", round_id=caller.id("r1"))
        body = json.dumps(content, separators=(",", ":")).encode()
        good = caller.signature(body)
        (name, value) = next(iter(good.items()))
        caller.key_number = 1
        strangers = caller.signature(body)
        altered = body.replace(b"r", b"s", 1)
        cases = [
            ({}, body), ({name: ""}, body), ({name: value[:-1]}, body), ({name: value[:-2] + "AA"}, body),
            (good, altered), (good, body + b"\n"), (strangers, body),
            ({name: value.split()[-1][:9]}, body), ({name: "\u00e9"}, body),
        ]  # fmt: skip
        async with table.casino.database.transaction() as tx:
            await tx.execute(
                "LOCK TABLE users, games, game_sessions, transactions, wallet_accounts IN ACCESS EXCLUSIVE MODE"
            )
            for headers, sent in cases:
                told = await asyncio.wait_for(caller.send(action, sent, headers), 0.5)
                table.says(told, "bad_signature")
        await table.ends(seat, "100.00")

    @scenario
    async def test_p8_old_and_new_keys_hold_together_while_they_are_rotated(self, table: Table) -> None:
        seat = await table.seat()
        old, new = (table.caller.keys(number)[1] for number in (0, 1))

        async def holds(number: int) -> bool:
            table.caller.key_number = number
            outcome = await table.caller.balance(seat)
            table.caller.key_number = 0
            assert outcome.word in {table.caller.OK, table.caller.word("bad_signature")}
            return outcome.word == table.caller.OK

        try:
            for keys, expected in (([old], (True, False)), ([old, new], (True, True)), ([new], (False, True))):
                await set_keys(table.casino, self.dialect, keys)
                await table.served.catalog.refresh()
                assert (await holds(0), await holds(1)) == expected
        finally:
            await set_keys(table.casino, self.dialect, [old])
            await table.served.catalog.refresh()

    @scenario
    async def test_p8_keys_that_cannot_be_read_admit_nobody(self, table: Table) -> None:
        seat = await table.seat()
        await table.casino.database.pool.execute(
            "UPDATE game_providers SET signing_keys = 'nonsense' WHERE code = $1", table.caller.code
        )
        await table.served.catalog.refresh()
        try:
            table.says(await table.caller.balance(seat), "bad_signature")
        finally:
            await set_keys(table.casino, self.dialect, [table.caller.keys(0)[1]])
            await table.served.catalog.refresh()

    @scenario
    async def test_p8_another_providers_signature_admits_nobody(self, table: Table) -> None:
        seat = await table.seat()
        action, content = table.caller.request("balance", seat)
        body = json.dumps(content).encode()
        for dialect, other in CALLERS.items():
            if dialect != self.dialect:
                headers = other(table.served).signature(body)
                table.says(await table.caller.send(action, body, headers), "bad_signature")

    # What is sent ----------------------------------------------------------------------------

    @scenario
    async def test_fields_that_nobody_knows_are_tolerated(self, table: Table) -> None:
        seat = await table.seat()
        more = {"key": table.caller.id("b1"), "amount": "1.00", "round_id": table.caller.id("r1")}
        action, content = table.caller.request("bet", seat, **more)
        told = await table.caller.post(action, {**content, "new_field": {"deep": [1, 2]}, "another": None})
        table.says(told, "ok", "99.00")

    @scenario
    async def test_an_address_that_the_protocol_lacks_is_refused_in_its_form(self, table: Table) -> None:
        for action in ("nonsense", "", "balance/more"):
            table.says(await table.caller.post(action, b"{}"), "unknown_action")

    @scenario
    async def test_a_body_above_the_cap_is_refused(self, table: Table) -> None:
        seat = await table.seat()
        more = {"key": table.caller.id("b1"), "amount": "1.00", "round_id": table.caller.id("r1")}
        action, content = table.caller.request("bet", seat, **more)
        for size in (70_000, 1_000_000):
            told = await table.caller.send(
                action, body := json.dumps({**content, "pad": "x" * size}).encode(), table.caller.signature(body)
            )
            table.says(told, "too_large")
        await table.ends(seat, "100.00")

    @scenario
    async def test_p5_a_bet_and_its_win_in_one_call(self, table: Table) -> None:
        seat = await table.seat()
        several = [("bet", table.caller.id("b1"), "10.00"), ("win", table.caller.id("w1"), "4.00")]
        first = await table.caller.ask("bet", seat, several=several, round_id=table.caller.id("r1"), close=True)
        table.says(first, "ok", "94.00")
        assert len(set(first.own_ids)) == 2
        again = await table.caller.ask("bet", seat, several=several, round_id=table.caller.id("r1"), close=True)
        table.repeats(again, first, "94.00")
        await table.ends(seat, "94.00", "bet main -10.00", "win main 4.00", rounds=("settled 10.00 4.00",))

    @scenario
    async def test_p5_of_several_bets_in_one_call_all_are_taken_or_none(self, table: Table) -> None:
        seat = await table.seat()
        several = [("bet", table.caller.id(f"b{n}"), "40.00") for n in range(3)]
        told = await table.caller.ask("bet", seat, several=several, round_id=table.caller.id("r1"))
        table.says(told, "insufficient_funds", "100.00")
        await table.ends(seat, "100.00")
        told = await table.caller.ask("bet", seat, several=several[:2], round_id=table.caller.id("r1"))
        table.says(told, "ok", "20.00")

    @scenario
    async def test_p5_a_call_may_repeat_some_bets_and_bring_others(self, table: Table) -> None:
        seat = await table.seat()
        several = [("bet", table.caller.id(f"b{n}"), "10.00") for n in range(2)]
        first = await table.caller.ask("bet", seat, several=several[:1], round_id=table.caller.id("r1"))
        told = await table.caller.ask("bet", seat, several=several, round_id=table.caller.id("r1"))
        table.says(told, "ok", "80.00")
        assert told.own_ids[0] == first.own_ids[0]
        await table.ends(seat, "80.00", "bet main -10.00", "bet main -10.00", rounds=("open 20.00 0.00",))

    @scenario
    async def test_a_free_round_takes_nothing(self, table: Table) -> None:
        seat = await table.seat("0")
        for _ in range(2):
            told = await table.caller.bet(seat, "b1", "1.00", free=True, award="spins-7")
            table.says(told, "ok", "0.00")
        await table.ends(seat, "0.00", rounds=("open 0.00 0.00",))

    @scenario
    async def test_what_free_rounds_have_won_is_paid_once(self, table: Table) -> None:
        seat = await table.seat("1.00")
        caller = table.caller
        is_free = self.dialect == "hub88"
        if self.dialect != "gcp-v1":
            await caller.bet(seat, "b1", "1.00", free=True, award="spins-7")
        for _ in range(2):
            if self.dialect == "gcp-v1":
                paid = await caller.ask("free spins", seat, key=caller.id("f1"), amount="4.00")
            else:
                paid = await caller.win(seat, "w1", "4.00", award="spins-7", free=is_free)
            table.says(paid, "ok", "5.00")
        await table.ends(seat, "5.00", "win main 4.00", rounds=("settled 0.00 4.00",))

    @scenario
    async def test_a_lost_database_is_asked_again_and_charged_once(self, table: Table) -> None:
        seat = await table.seat()
        pool = table.casino.database.pool
        name = await pool.fetchval("SELECT current_database()")
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            name,
        )
        for _ in range(20):
            told = await table.caller.bet(seat, "b1", "10.00")
            if told.word == table.caller.OK:
                break
            assert told.word[0] == table.caller.word("retryable")[0], told.body
        table.says(told, "ok", "90.00")
        assert await seat.player.balance() == Decimal("90.00")

    @scenario
    async def test_a_session_of_a_game_that_was_left_is_not_the_other_games(self, table: Table) -> None:
        seat = await table.seat()
        slug = f"{self.dialect}-lobby"
        await games.ensure_game(
            table.casino.database,
            provider_code=table.caller.code,
            slug=slug,
            title=slug,
            volatility="low",
            genre="live",
        )
        await table.served.catalog.refresh()
        told = await table.caller.bet(seat, "b1", "10.00", game=slug)
        if self.dialect == "hub88":  # a live lobby: the session goes on at another table
            table.says(told, "ok", "90.00")
            table.says(await table.caller.bet(seat, "b2", "10.00", "r2", game=slug), "ok", "80.00")
            table.says(await table.caller.win(seat, "w1", "5.00", game=slug), "ok", "85.00")
        else:
            table.says(told, "session_ended", "100.00")

"""A provider's report against our books: what matches, what differs and how, and what cannot be read."""

import csv
import io
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from casino import Casino, Player, open_casino
from countroom.games import service as games
from countroom.games.reconciliation import queries, service
from countroom.games.reconciliation.export import csv_of
from countroom.games.reconciliation.report import InvalidReport, Report
from countroom.games.reconciliation.rules import Difference, bounds, proposal
from countroom.players import staff
from countroom.players.rights import NotYourRole
from countroom.players.staff import StaffSession
from countroom.wallet.commands import Bet

HEAD: Final = "transaction_id,type,status,amount,currency,round_id,account_id"


@dataclass
class Desk:
    casino: Casino
    player: Player

    def line(self, key: str, kind: str, amount: str, round_key: str = "r1", **other: str) -> str:
        status = other.get("status", "success")
        player = other.get("player", str(self.player.id))
        return f"{key},{kind},{status},{amount},{other.get('currency', 'EUR')},{round_key},{player}"

    async def compare(self, *lines: str, head: str = HEAD, day: date | None = None) -> service.Reconciliation:
        return await service.compare(
            self.casino.database, provider_code="sandbox", day=day or datetime.now(UTC).date(), time_zone="UTC",
            file_name="report.csv", chunks=["\n".join([head, *lines]).encode()], staff_id=None,
        )  # fmt: skip

    async def found(self, reconciliation: service.Reconciliation) -> dict[str, tuple[str, ...]]:
        listed = await service.differences(self.casino.database, reconciliation, limit=100)
        return {one.difference.transaction_id: one.difference.kinds for one in listed}

    async def age(self, key: str, hours: int) -> None:
        """Let a transaction have been made so long ago, with the id that it would have had then."""
        moment = datetime.now(UTC) - timedelta(hours=hours)
        aged = UUID(int=(int(moment.timestamp() * 1000) << 80) + random.getrandbits(60))
        async with self.casino.database.transaction() as tx:
            await tx.execute("ALTER TABLE wallet_entries DISABLE TRIGGER wallet_entries_append_only")
            old = await tx.fetchval("SELECT id FROM transactions WHERE external_id = $1", f"sandbox:{key}")
            await tx.execute("UPDATE wallet_entries SET transaction_id = $2 WHERE transaction_id = $1", old, aged)
            await tx.execute("UPDATE transactions SET id = $2, created_at = $3 WHERE id = $1", old, aged, moment)
            await tx.execute("ALTER TABLE wallet_entries ENABLE TRIGGER wallet_entries_append_only")


@asynccontextmanager
async def desk(database_url: str) -> AsyncIterator[Desk]:
    async with open_casino(database_url) as casino:
        player = await casino.player(main="100.00", bonus="20.00")
        yield Desk(casino, player)
        await casino.check_books()


async def test_what_is_equal_to_the_cent_matches_whatever_it_drew_on(database_url: str) -> None:
    async with desk(database_url) as at:
        await at.player.bet("110.00", "split")  # main 100, bonus 10: two rows here, one line there
        await at.player.win("33.33", "won")
        await at.player.bet("5.00", "undone", round_key="r2")
        await at.player.reverse("undone", "undo", round_key="r2")
        await at.player.reverse("never", "unseen", round_key="r3")
        await at.player.apply(Bet("free", Decimal("0.50"), moves_money=False, award="ten free"), round_key="r4")

        found = await at.compare(
            at.line("split", "bet", "110.00"), at.line("won", "win", "33.33"),
            at.line("undone", "bet", "5.0", "r2", status="cancelled"),
            at.line("never", "bet", "7.00", "r3", status="cancelled"),
            at.line("free", "bet", "0.50", "r4"),
        )  # fmt: skip

        assert await at.found(found) == {}
        assert (found.line_count, found.matched_count, found.difference_count) == (5, 5, 0)
        assert [(one.currency, one.their_bets, one.their_wins, one.agrees) for one in found.sums] == [
            ("EUR", Decimal("110.00"), Decimal("33.33"), True)
        ]


async def test_every_kind_of_difference_is_named_with_what_to_do(database_url: str) -> None:
    async with desk(database_url) as at:
        other = await at.casino.player()
        for number, key in enumerate(("amount", "status", "type", "player", "round", "twice", "many", "unlisted")):
            await at.player.bet(f"{number + 1}.00", key, round_key=key)
        await at.player.win("3.00", "unlisted-win", round_key="unlisted")
        await at.player.reverse("status", "undo", round_key="status")
        await at.player.reverse("dead", "early", round_key="dead")

        found = await at.compare(
            at.line("amount", "bet", "1.01", "amount"),
            at.line("status", "bet", "2.00", "status"),
            at.line("type", "win", "3.00", "type"),
            at.line("player", "bet", "4.00", "player", player=str(other.id)),
            at.line("round", "bet", "5.00", "another"),
            at.line("twice", "bet", "6.00", "twice"),
            at.line("twice", "bet", "6.00", "twice"),
            at.line("many", "bet", "700", "nowhere", currency="JPY"),
            at.line("unknown", "win", "9.00", "unknown"),
            at.line("dead", "bet", "8.00", "dead"),
            at.line("gone", "rollback", "8.00", "dead"),
            at.line("early", "rollback", "8.00", "dead"),
            at.line("undo", "rollback", "2.00", "status"),
        )  # fmt: skip

        assert await at.found(found) == {
            "unknown": ("missing_here",), "gone": ("missing_here",),
            "unlisted": ("missing_there",), "unlisted-win": ("missing_there",), "many": ("currency", "amount", "round"),
            "amount": ("amount",), "type": ("type",), "player": ("player",), "round": ("round",),
            "twice": ("twice_there",),
        }  # fmt: skip
        assert found.kinds == {
            "missing_here": 2, "missing_there": 2, "currency": 1, "amount": 2, "type": 1, "player": 1, "round": 2,
            "twice_there": 1,
        }  # fmt: skip
        # A bet whose reversal is listed, too, stands as cancelled on both sides; so does one that came after it.
        assert (found.line_count, found.matched_count, found.difference_count) == (13, 5, 10)
        listed = await service.differences(at.casino.database, found, limit=100)
        assert [one.difference.number for one in listed] == list(range(1, 11))
        assert all(one.proposal.endswith(".") for one in listed)
        only = await service.differences(at.casino.database, found, kind="round", limit=100)
        assert [one.difference.transaction_id for one in only] == ["many", "round"]


async def test_a_reversal_that_one_side_does_not_know_is_a_difference(database_url: str) -> None:
    async with desk(database_url) as at:
        await at.player.bet("1.00", "here", round_key="a")
        await at.player.reverse("here", "undo", round_key="a")
        await at.player.bet("2.00", "there", round_key="b")
        await at.player.reverse("late", "first", round_key="c")

        found = await at.compare(
            at.line("here", "bet", "1.00", "a"), at.line("there", "bet", "2.00", "b", status="cancelled"),
            at.line("late", "bet", "3.00", "c"),
        )  # fmt: skip

        listed = await service.differences(at.casino.database, found, limit=100)
        said = {one.difference.transaction_id: (*one.difference.kinds, one.proposal) for one in listed}
        assert {key: (kind, words.partition(",")[0].partition(";")[0]) for key, (kind, words) in said.items()} == {
            "here": ("status", "Tell the provider that it was reversed here by undo"),
            "there": ("status", "Ask the provider to send the reversal again"),
            "late": ("missing_here", "Tell the provider that it was reversed by first before it came"),
        }
        assert [(one.their_bets, one.our_bets) for one in found.sums] == [(Decimal("4.00"), Decimal("2.00"))]


async def test_lines_are_found_on_any_day_and_what_is_missing_there_is_of_the_day(database_url: str) -> None:
    async with desk(database_url) as at:
        for key in ("now", "before", "unlisted-now", "unlisted-before"):
            await at.player.bet("1.00", key, round_key=key)
        await at.age("before", 24)
        await at.age("unlisted-before", 48)
        other = await games.ensure_provider(
            at.casino.database, code="other", title="Other", dialect="gcp-v1", launch_url="http://127.0.0.1:9/",
            signing_keys=["k" * 16], secret_key=at.casino.secret_key,
        )  # fmt: skip

        found = await at.compare(at.line("now", "bet", "1.00", "now"), at.line("before", "bet", "1.00", "before"))
        theirs = await service.compare(
            at.casino.database, provider_code="other", day=found.day, time_zone="UTC", file_name="x",
            chunks=[HEAD.encode(), b"\n", at.line("now", "bet", "1.00", "now").encode()], staff_id=None,
        )  # fmt: skip

        assert other
        assert await at.found(found) == {"unlisted-now": ("missing_there",)}
        assert await at.found(theirs) == {"now": ("missing_here",)}, "ids are the provider's own"


def test_a_report_is_read_under_many_names_and_in_any_pieces() -> None:
    text = (
        "\ufeffTx-ID;Kind;Sum;Currency Code;Round;User ID\r\n"
        '"a;1";DEBIT;-1.50;eur;r 1;p\r\n'
        "b;Credit;20;JPY;r2;\r\n"
        "\r\n"
        "c;refund;;EUR;;p"
    ).encode()  # fmt: skip
    for size in (1, 7, 1_000):
        pieces = [text[place : place + size] for place in range(0, len(text), size)]
        lines = list(Report(pieces, "acme").lines())

        assert [tuple(line) for line in lines] == [
            (2, "acme:a;1", "bet", "success", Decimal("1.50"), "EUR", "r 1", "p"),
            (3, "acme:b", "win", "success", Decimal(20), "JPY", "r2", ""),
            (5, "acme:c", "reversal", "success", Decimal("0.00"), "EUR", "", "p"),
        ]


@pytest.mark.parametrize(
    ("lines", "sentence", "field"),
    [
        ([b""], "Line 1 names no column transaction_id.", "transaction_id"),
        ([b"id,amount,currency\n"], "Line 1 names no column round_id.", "round_id"),
        ([b"id,amount,Amount,currency,round\n"], "Line 1 names the column amount twice.", "amount"),
        ([b"id,amount,currency,round\n", b"a,1.00,EUR,r\n", b"b,1.00,EUR\n"], "Line 3 has 3 columns", None),
        ([b"id,amount,currency,round\n", b"a,1e3,EUR,r\n"], "Line 2, amount: '1e3'", "amount"),
        ([b"id,amount,currency,round\n", b"a,1.001,EUR,r\n"], "Line 2, amount: '1.001': EUR has 2 decimals", "amount"),
        ([b"id,amount,currency,round\n", b"a,NaN,EUR,r\n"], "Line 2, amount", "amount"),
        ([b"id,amount,currency,round,type\n", b"a,-1,EUR,r,win\n"], "Line 2, amount", "amount"),
        ([b"id,amount,currency,round\n", b"a,1.00,BTC,r\n"], "Line 2, currency: 'BTC'", "currency"),
        ([b"id,amount,currency,round\n", b",1.00,EUR,r\n"], "Line 2, transaction_id: it is empty", "transaction_id"),
        ([b"id,amount,currency,round\n", b"a,1.00,EUR,\n"], "Line 2, round_id: it is empty", "round_id"),
        (
            [b"id,amount,currency,round\n", b"a" * 201 + b",1,EUR,r\n"],
            "Line 2, transaction_id: it is",
            "transaction_id",
        ),
        ([b"id,amount,currency,round,type\n", b"a,1.00,EUR,r,gift\n"], "Line 2, type: 'gift'", "type"),
        ([b"id,amount,currency,round,status\n", b"a,1,EUR,r,maybe\n"], "Line 2, status: 'maybe'", "status"),
        ([b"id,amount,currency,round\n", b"a,1.00,EUR,\xff\n"], "Line 2 is not UTF-8.", None),
        ([b"id,amount,currency,round\n", b"a,1.00,EUR,\0\n"], "Line 2 has a null byte.", None),
        ([b"id,amount,currency,round\n", b'a,1.00,EUR,"r\n'], "Line 2: unexpected end of data.", None),
        ([b"id,amount,currency,round\n", b'a,"1"x,EUR,r\n'], "Line 2: ", None),
        ([b"id,amount,currency,round\n", b"x" * 20_000], "Line 2 is longer than 16,384 bytes.", None),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line_and_column(
    lines: Iterable[bytes], sentence: str, field: str | None
) -> None:
    with pytest.raises(InvalidReport) as refused:
        list(Report(lines, "acme").lines())

    assert refused.value.sentence.startswith(sentence)
    assert refused.value.field == field


async def test_nothing_is_kept_of_a_report_that_cannot_be_read_or_of_nobody(database_url: str) -> None:
    async with desk(database_url) as at:
        with pytest.raises(InvalidReport, match="Line 3, amount"):
            await at.compare(at.line("a", "bet", "1.00"), at.line("b", "bet", "much"))
        with pytest.raises(service.NoSuchProvider):
            await service.compare(
                at.casino.database, provider_code="nobody", day=date(2026, 1, 1), time_zone="UTC", file_name="x",
                chunks=[], staff_id=None,
            )  # fmt: skip

        assert await service.listed(at.casino.database, limit=5) == []
        again = await at.compare(at.line("a", "bet", "1.00"))  # the connection is as good as before
        assert again.kinds == {"missing_here": 1}


async def test_a_comparison_is_kept_with_its_file_and_notes_are_added(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "DIFFERENCES_KEPT", 2)
    async with desk(database_url) as at:
        lines = [at.line(f"=key-{number}", "bet", "1.00") for number in range(3)]
        found = await at.compare(*lines)

        assert (found.difference_count, found.kept_count, len(await at.found(found))) == (3, 2, 2)
        assert [one.id for one in await service.listed(at.casino.database, limit=5)] == [found.id]
        clerk, auditor = await _member(at.casino, "cashier"), await _member(at.casino, "analyst")
        await service.note(at.casino.database, clerk, found.id, 1, " asked them ")
        with pytest.raises(NotYourRole):
            await service.note(at.casino.database, auditor, found.id, 1, "x")
        with pytest.raises(service.InvalidNote):
            await service.note(at.casino.database, clerk, found.id, 1, " ")
        with pytest.raises(service.NoSuchDifference):
            await service.note(at.casino.database, clerk, found.id, 3, "x")

        text = b"".join([piece async for piece in csv_of(at.casino.database, found)]).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["transaction_id"] for row in rows] == ["'=key-0", "'=key-1"], "no cell is a formula"
        assert (rows[0]["difference"], rows[0]["note"], rows[0]["noted_by"]) == (
            "missing here",
            "asked them",
            "cashier",
        )


async def _member(casino: Casino, role: Any) -> StaffSession:
    email = f"{role}@example.test"
    await staff.add(casino.database, email=email, name=role, role=role)
    row = await casino.database.fetchrow("SELECT id FROM staff WHERE email = $1", email)
    assert row is not None
    return StaffSession(row["id"], email, role, role, datetime.now(UTC))


def test_a_day_has_as_many_hours_as_the_clocks_say() -> None:
    begin, end = bounds(date(2026, 3, 29), ZoneInfo("Europe/Malta"))

    assert (end.astimezone(UTC) - begin.astimezone(UTC)) == timedelta(hours=23)


@pytest.mark.parametrize(("minutes", "sentence"), [(5, "Look for it"), (60, "Ask the provider whether the round was")])
def test_what_is_missing_near_midnight_is_looked_for_next_door(minutes: int, sentence: str) -> None:
    day = date(2026, 3, 1)
    moment = datetime(2026, 3, 2, tzinfo=UTC) - timedelta(minutes=minutes)
    found = Difference(
        number=1, kinds=("missing_there",), transaction_id="t", line=None, their_type=None, their_status=None,
        their_amount=None, their_currency=None, their_round=None, their_player=None, our_id=UUID(int=1), our_type="bet",
        our_status="success", our_amount=Decimal(1), our_currency="EUR", our_round="r", our_player=UUID(int=2),
        our_created_at=moment, reversed_by=None,
    )  # fmt: skip

    assert proposal(found, day=day, zone=ZoneInfo("UTC")).startswith(sentence)

"""The same scenarios through all dialects, over HTTP, on PostgreSQL: they end in the same books.

`make test` prints the matrix. A dialect's class says what its protocol cannot say, with the protocol's own reason.
"""

from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import pytest

from contract_bets import Bets
from contract_callers import Callers
from contract_reversals import Reversals
from countroom.games.dialects import DIALECTS, Policies


class Contract(Bets, Reversals, Callers):
    pytestmark = pytest.mark.asyncio(loop_scope="module")


ONE_AT_A_TIME = dict.fromkeys(
    (
        "test_p5_a_bet_and_its_win_in_one_call",
        "test_p5_of_several_bets_in_one_call_all_are_taken_or_none",
        "test_p5_a_call_may_repeat_some_bets_and_bring_others",
    ),
    "a call is about one transaction",
)


class TestSoftswissV2(Contract):
    dialect = "softswiss-v2"
    cannot: ClassVar = {
        "test_a_win_of_nothing_is_told_once_and_moves_nothing": "no amount is zero; a round ends by finish",
        "test_a_free_round_takes_nothing": "free rounds have an interface of their own",
        "test_what_free_rounds_have_won_is_paid_once": "free rounds have an interface of their own",
    }


class TestSwipegames(Contract):
    dialect = "swipegames"
    cannot: ClassVar = {
        **ONE_AT_A_TIME,
        "test_a_win_that_is_spent_and_taken_back_is_owed": "only bets are refunded",
        "test_a_player_who_does_not_exist_is_refused": "no call names a player: the session does",
        "test_a_game_that_does_not_exist_is_refused": "no call names a game: the session does",
        "test_another_currency_than_the_players_is_refused": "no call names a currency: the session does",
        "test_a_session_of_a_game_that_was_left_is_not_the_other_games": "no call names a game: the session does",
    }


class TestHub88(Contract):
    dialect = "hub88"
    cannot: ClassVar = {**ONE_AT_A_TIME}


class TestGcpV1(Contract):
    dialect = "gcp-v1"
    cannot: ClassVar = {
        "test_an_amount_finer_than_the_currency_is_refused_and_not_rounded": "amounts are whole smallest units",
        "test_a_free_round_takes_nothing": "free rounds are played at the provider; their sum is told",
    }


CLASSES = (TestSoftswissV2, TestSwipegames, TestHub88, TestGcpV1)


def test_every_dialect_has_its_contract_and_names_only_scenarios_that_exist() -> None:
    assert {contract.dialect for contract in CLASSES} == set(DIALECTS)
    scenarios = [name for name in dir(Contract) if name.startswith("test_")]
    assert len(scenarios) >= 40
    for contract in CLASSES:
        assert set(contract.cannot) <= set(scenarios)
        assert all(contract.cannot.values())


def test_the_documentation_says_what_the_dialects_disagree_about() -> None:
    page = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text("utf-8")
    for field in fields(Policies):
        said = [getattr(dialect.policies, field.name) for dialect in DIALECTS.values()]
        assert f"| {field.name.replace('_', ' ')} | {' | '.join(said)} |" in page
    for name, dialect in DIALECTS.items():
        assert f"| `{name}` | `" in page
        assert all(action in page for action in dialect.actions)

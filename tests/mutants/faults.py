"""Deliberate faults of the wallet and its proof, each a replacement of one piece of code, and what must find it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
WRITE_PATH: Final = "tests/wallet/test_write_path.py"
BETS: Final = "tests/wallet/test_bets_and_wins.py"
ADDED: Final = "tests/wallet/test_added.py"
PROOFS: Final = "tests/wallet/test_incremental_proofs.py"
INCREMENTAL: Final = "wallet/statements/incremental"


class MovedOnError(Exception):
    """The code is no longer what the fault was written for: write the fault anew."""


@dataclass(frozen=True)
class Fault:
    """A piece of the wallet's code, what takes its place, and the tests that must notice.

    The tests' fixture proves the books at their end (`countroom check` runs the same proof), so that
    a fault is found by a test, by the proof, or by both.
    """

    what: str
    file: str
    """Of src/countroom."""
    code: str
    fault: str
    tests: tuple[str, ...]
    is_seen_in_the_books: bool

    def planted(self, source: str) -> str:
        """Return the file's text with the fault in it.

        Raises:
            MovedOnError: the piece of code is not there, or more than once.
        """
        if source.count(self.code) != 1:
            raise MovedOnError(f"{self.file} has {source.count(self.code)} times, not once: {self.code}")
        return source.replace(self.code, self.fault)


FAULTS: Final = (
    Fault(
        "a line of the journal is skipped",
        "wallet/rules.py",
        "writes.entries += draft.entries",
        "writes.entries += draft.entries[:-1]",
        (f"{WRITE_PATH}::test_a_bet_may_be_paid_from_a_win_of_the_same_command",),
        is_seen_in_the_books=True,
    ),
    Fault(
        "a credit is doubled in the balance and not in the journal",
        "wallet/draft.py",
        "wallet.balance = after",
        "wallet.balance = after + max(amount, ZERO)",
        (f"{WRITE_PATH}::test_stakes_take_main_first_and_wins_come_back_as_the_bets_were_split",),
        is_seen_in_the_books=True,
    ),
    Fault(
        "a win is credited twice, in the journal as well",
        "wallet/play.py",
        "draft.credit(wallet_type, part, row.id, operation)",
        "_ = [draft.credit(wallet_type, part, row.id, operation) for _ in range(2)]",
        (f"{WRITE_PATH}::test_stakes_take_main_first_and_wins_come_back_as_the_bets_were_split",),
        is_seen_in_the_books=True,
    ),
    Fault(
        "a tombstone is dropped",
        "wallet/rules.py",
        "writes.tombstones.append(stone)",
        "assert stone",
        (f"{WRITE_PATH}::test_p4_two_reversals_with_other_ids_give_back_once",
         f"{WRITE_PATH}::test_p4_a_reversal_before_its_bet_is_a_tombstone_for_ever"),
        is_seen_in_the_books=True,
    ),
    Fault(
        "a win is split the wrong way round",
        "wallet/play.py",
        "main = (amount * (bet - bonus_bet) / bet)",
        "main = (amount * bonus_bet / bet)",
        ("tests/wallet/test_rules.py::test_a_win_is_split_to_the_last_unit",
         f"{WRITE_PATH}::test_stakes_take_main_first_and_wins_come_back_as_the_bets_were_split"),
        is_seen_in_the_books=False,
    ),
    Fault(
        "an older balance is written over a newer one in Redis",
        "wallet/balances.py",
        "<= tonumber(ARGV[2 * i - 1])",
        "<= 1e300",
        ("tests/wallet/test_late_balances.py::test_an_older_balance_never_overwrites_a_newer_one",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "the content of a repeated command is not compared",
        "wallet/rules.py",
        "rows[0].request_hash != same",
        "same == b''",
        (f"{WRITE_PATH}::test_p2_other_content_under_a_used_key_is_refused",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a bet's money is given back to the main wallet whatever it came from",
        "wallet/play.py",
        "draft.credit(row.wallet_type, row.amount, row.id, operation)",
        'draft.credit("main", row.amount, row.id, operation)',
        (f"{BETS}::test_a_reversal_gives_back_the_exact_split_and_takes_the_bet_out_of_its_round",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "what a player owes is not repaid",
        "wallet/draft.py",
        "if wallet.receivable:",
        "if wallet.receivable and amount < 0:",
        (f"{BETS}::test_more_than_is_owed_leaves_the_rest",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a withdrawal may end twice",
        "wallet/cashier.py",
        'row.status != "pending" or first_end(target_id, draft, facts) is not None',
        'row.status == "" or first_end(target_id, draft, facts) is row',
        ("tests/wallet/test_bad_input.py::test_a_withdrawal_ends_once_and_by_its_own_player",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a game session's wins are not added up",
        "wallet/play.py",
        "sums.win += amount",
        "sums.win += ZERO",
        (f"{WRITE_PATH}::test_a_bet_may_be_paid_from_a_win_of_the_same_command",),
        is_seen_in_the_books=True,
    ),
    Fault(
        "a pass of plain bets writes although somebody has written since it read",
        "wallet/writing.py",
        "w.id = gain.id AND w.version = gain.version",
        "w.id = gain.id",
        ("tests/wallet/test_batcher.py::test_what_was_read_too_early_is_read_again_and_answered_the_same",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a pass of anything writes although somebody has written since it read",
        "wallet/writing.py",
        "w.id = new.id AND w.version = new.version AND w.sequence = new.lines",
        "w.id = new.id",
        ("tests/wallet/test_batcher.py::test_what_was_read_too_early_is_read_again_and_answered_the_same",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "an answer shows the balance without what another process has posted meanwhile",
        "wallet/batch.py",
        "balance=outcome.balance + difference",
        "balance=outcome.balance",
        (f"{ADDED}::test_what_another_process_has_bet_and_won_is_neither_lost_nor_read_for",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a plain bet is added to a round that another process has ended",
        "wallet/writing.py",
        "r.id = new.id AND r.status = 'open'",
        "r.id = new.id",
        (f"{ADDED}::test_a_round_that_another_process_has_ended_takes_no_more_bets",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a refusal is answered with a balance that has moved on, beside a bet that was taken",
        "wallet/batch.py",
        "if pipelined is None or (refused and _is_written_beside(refused, facts, writes)):",
        "if pipelined is None:",
        (f"{ADDED}::test_who_is_refused_beside_a_bet_that_is_taken_is_told_the_true_balance",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a proof takes what was under way for read",
        f"{INCREMENTAL}/advance_players.sql",
        "coalesce($1, read_from) FROM",
        "coalesce($1, clock_timestamp()) FROM",
        (f"{PROOFS}::test_every_fault_is_found_once_whoever_waits_and_whatever_stays_open",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a player who waits for his proof is read on from where the others have been read",
        f"{INCREMENTAL}/read_players.sql",
        "coalesce(m.read_from, h.begun_from)",
        "h.read_from",
        (f"{PROOFS}::test_a_fault_of_a_player_who_waits_is_found_when_he_is_read",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a proof forgets players whose wallets have not changed",
        "wallet/incremental.py",
        "Part(unmoved, read_from",
        "Part([], read_from",
        (f"{PROOFS}::test_a_fault_of_a_player_who_waits_is_found_when_he_is_read",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "a proof passes over transactions that it has not come to",
        f"{INCREMENTAL}/find_unread.sql",
        "ELSE (SELECT id FROM next ORDER BY id DESC LIMIT 1)",
        "ELSE $2",
        (f"{PROOFS}::test_transactions_that_moved_nothing_are_walked_past_some_at_a_time",),
        is_seen_in_the_books=False,
    ),
    Fault(
        "what a part of a proof found is lost with the next part",
        "wallet/incremental.py",
        "[proof for proof in found if not proof.holds]",
        "[]",
        (f"{PROOFS}::test_what_a_part_found_broken_stays_when_a_later_part_fails",),
        is_seen_in_the_books=False,
    ),
)  # fmt: skip
"""The issue's five first."""

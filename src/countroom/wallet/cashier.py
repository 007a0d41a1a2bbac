"""Money that comes, goes, or is given: deposits, withdrawals, bonus money, adjustments. Pure, like `rules`."""

from typing import Final

import msgspec

from countroom.money import ZERO
from countroom.wallet.commands import (
    SECOND_ROW,
    Adjust,
    Conclude,
    Convert,
    Deposit,
    Forfeit,
    Grant,
    Posted,
    Withdraw,
)
from countroom.wallet.draft import Draft
from countroom.wallet.play import first_end
from countroom.wallet.refusals import InvalidOperation, WithdrawalConcluded, WithdrawalNotFound
from countroom.wallet.state import Facts

_STATUS: Final = {"settled": "success", "failed": "failed", "cancelled": "cancelled"}
_encode = msgspec.json.Encoder().encode


def deposit(draft: Draft, operation: Deposit) -> Posted:
    """Credit a settled deposit, less its fee."""
    if operation.fee >= operation.amount:
        raise InvalidOperation("A deposit's fee is less than the deposit.", field="fee")
    row = draft.post(
        operation, "deposit", "main", operation.amount, fee=operation.fee, payment_id=operation.payment_id
    )  # fmt: skip
    draft.credit("main", operation.amount - operation.fee, row.id, operation)
    return Posted(operation.key, row.id, ZERO)


def withdraw(draft: Draft, operation: Withdraw) -> Posted:
    """Lock a withdrawal and its fee; it stays pending until its outcome is known (rules of payments, 9)."""
    row = draft.post(
        operation, "withdrawal", "main", operation.amount, fee=operation.fee, payment_id=operation.payment_id,
        status="pending",
    )  # fmt: skip
    held = operation.amount + operation.fee
    draft.move("main", -held, row.id)
    draft.move("locked", held, row.id)
    return Posted(operation.key, row.id, ZERO)


def conclude(draft: Draft, operation: Conclude, facts: Facts) -> Posted:
    """End a withdrawal once: settled, what was locked leaves; failed or cancelled, it returns to main."""
    command = draft.command
    target_id = f"{command.source}:{operation.target}"
    rows = facts.rows.get(target_id) or draft.rows_of(target_id)
    if not rows or rows[0].type != "withdrawal" or (rows[0].user_id, rows[0].currency) != (
        command.user_id, command.currency,
    ):  # fmt: skip
        raise WithdrawalNotFound
    row = rows[0]
    if row.status != "pending" or first_end(target_id, draft, facts) is not None:
        raise WithdrawalConcluded
    stone = draft.bury(operation, target_id, outcome=operation.outcome, id=row.id)
    held = row.amount + row.fee
    draft.move("locked", -held, row.id)
    if operation.outcome == "settled":
        stone.amount = -held
    else:
        draft.credit("main", held, row.id, operation)
    draft.end(row, _STATUS[operation.outcome])
    return Posted(operation.key, row.id, ZERO)


def grant(draft: Draft, operation: Grant) -> Posted:
    """Give bonus money."""
    metadata = {"kind": "granted"} | ({"award": operation.award} if operation.award else {})
    row = draft.post(operation, "bonus", "bonus", operation.amount, metadata=_encode(metadata).decode())
    draft.credit("bonus", operation.amount, row.id, operation)
    return Posted(operation.key, row.id, operation.amount)


def convert(draft: Draft, operation: Convert) -> Posted:
    """Turn bonus money into the player's own: two rows that add up to nothing."""
    metadata = _encode({"kind": "converted"}).decode()
    into = draft.post(operation, "bonus", "main", operation.amount, metadata=metadata)
    out = draft.post(operation, "bonus", "bonus", -operation.amount, ending=SECOND_ROW, metadata=metadata)
    draft.move("bonus", -operation.amount, out.id)
    draft.credit("main", operation.amount, into.id, operation)
    return Posted(operation.key, into.id, -operation.amount)


def forfeit(draft: Draft, operation: Forfeit) -> Posted:
    """Take bonus money away."""
    metadata = _encode({"kind": operation.reason}).decode()
    row = draft.post(operation, "bonus", "bonus", -operation.amount, metadata=metadata)
    draft.move("bonus", -operation.amount, row.id)
    return Posted(operation.key, row.id, -operation.amount)


def adjust(draft: Draft, operation: Adjust) -> Posted:
    """Correct a wallet by hand; a wallet never goes below zero for it."""
    metadata = _encode({"kind": "adjustment"}).decode()
    row = draft.post(operation, "adjustment", operation.wallet_type, operation.amount, metadata=metadata)
    if operation.amount > 0:
        draft.credit(operation.wallet_type, operation.amount, row.id, operation)
    else:
        draft.move(operation.wallet_type, operation.amount, row.id)
    return Posted(operation.key, row.id, operation.amount if operation.wallet_type == "bonus" else ZERO)

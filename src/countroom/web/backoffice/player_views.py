"""What a player's page shows, as plain values. Nothing here asks anybody."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from countroom.wallet.history import Account, BalanceAt, Line, Movement, Page
from countroom.web.backoffice.views import amount_text, short_player, whole

WALLETS: Final = {
    "main": ("Main", "What the player can play with and withdraw."),
    "bonus": ("Bonus", "Played after main is used up; cannot be withdrawn."),
    "locked": ("Locked", "Held for withdrawals that are under way."),
}
TYPES: Final = {
    "deposit": "Deposits",
    "withdrawal": "Withdrawals",
    "bet": "Bets",
    "win": "Wins",
    "bonus": "Bonuses",
    "adjustment": "Adjustments",
}
_FIELD: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?", re.ASCII)
_TITLES: Final[Mapping[tuple[str, Movement], str]] = {
    ("deposit", "posted"): "Deposit",
    ("withdrawal", "held"): "Withdrawal, held",
    ("withdrawal", "settled"): "Withdrawal, paid",
    ("withdrawal", "released"): "Withdrawal, released",
    ("bet", "posted"): "Bet",
    ("bet", "reversed"): "Bet given back",
    ("win", "posted"): "Win",
    ("win", "reversed"): "Win taken back",
    ("bonus", "posted"): "Bonus",
    ("adjustment", "posted"): "Adjustment",
    ("adjustment", "receivable"): "Owed by the player",
    ("adjustment", "repayment"): "Repayment of what is owed",
}


@dataclass(frozen=True, slots=True)
class PlayerRow:
    """An account as its page shows it."""

    id: UUID
    email: str | None
    username: str | None
    country: str | None
    status: str
    kyc_status: str
    created_at: datetime
    email_confirmed_at: datetime | None

    @property
    def name(self) -> str:
        """What the player is called here: an address if there is one."""
        return self.email or self.username or f"Player {short_player(self.id)}"


@dataclass(frozen=True, slots=True)
class WalletCard:
    """One wallet, and what it held at the moment that was asked for."""

    id: UUID
    title: str
    meaning: str
    currency: str
    balance: str
    entries: str
    then: str | None
    """Its past balance, if one was asked for; "not opened yet" before it was."""
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One line of the statement."""

    sequence: str
    day: str
    time: str
    moment: str
    title: str
    type: str
    game: str | None
    game_slug: str | None
    round: str | None
    round_id: UUID | None
    reference: str
    status: str
    fee: str | None
    amount: str
    is_credit: bool
    balance: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page was asked for, as its address says it: every link begins with this and changes a part."""

    wallet: str = ""
    types: tuple[str, ...] = ()
    status: str = ""
    since: str = ""
    until: str = ""
    game: str = ""
    round: str = ""
    at: str = ""

    def query(self, **changes: str) -> str:
        """Return the query of an address that asks for the same but for ``changes``; a place is not kept."""
        pairs = [("wallet", self.wallet), *[("type", one) for one in self.types], ("status", self.status)]
        pairs += [("from", self.since), ("to", self.until), ("game", self.game), ("round", self.round), ("at", self.at)]
        kept = [(name, value) for name, value in pairs if value and name not in changes]
        return urlencode(kept + [(name, value) for name, value in changes.items() if value])

    @property
    def has_filters(self) -> bool:
        """Whether lines may be missing."""
        return bool(self.types or self.status or self.since or self.until or self.game or self.round)


def field_value(text: str) -> str:
    """Return what a date and time field can show of what was asked; browsers complain about anything else."""
    return text if _FIELD.fullmatch(text) else ""


def local_moment(text: str, zone: ZoneInfo) -> datetime:
    """Read what a date and time field sends, in a time zone; a moment with an offset of its own keeps it.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def wallets(
    accounts: Sequence[Account], past: Mapping[UUID, BalanceAt], chosen: UUID | None
) -> dict[str, list[WalletCard]]:
    """Make a card of each wallet, by currency."""
    cards: dict[str, list[WalletCard]] = {}
    for account in accounts:
        title, meaning = WALLETS[account.type]
        then = past.get(account.id)
        cards.setdefault(account.currency, []).append(
            WalletCard(
                id=account.id,
                title=title,
                meaning=meaning,
                currency=account.currency,
                balance=amount_text(account.balance, account.currency),
                entries="no entries" if not account.sequence else _count(account.sequence, "entry", "entries"),
                then=None if then is None else _then(then),
                is_chosen=account.id == chosen,
            )
        )
    return cards


def lines(found: Iterable[Line], currency: str, zone: ZoneInfo) -> list[StatementLine]:
    """Make the lines of a statement, times in the reporting time zone."""
    return [_line(line, currency, zone) for line in found]


def _line(line: Line, currency: str, zone: ZoneInfo) -> StatementLine:
    local = line.created_at.astimezone(zone)
    is_credit = line.amount > 0
    amount = amount_text(line.amount, currency)
    return StatementLine(
        sequence=whole(line.sequence),
        day=f"{local.day} {local:%b %Y}",
        time=f"{local:%H:%M:%S}",
        moment=line.created_at.isoformat(timespec="microseconds"),
        title=_TITLES.get((line.type, line.movement), line.type.capitalize()),
        type=line.type,
        game=line.game_title,
        game_slug=line.game_slug,
        round=line.round_external_id,
        round_id=line.round_id,
        reference=line.external_id,
        status=line.status,
        fee=amount_text(line.fee, currency) if line.fee else None,
        amount=f"+{amount}" if is_credit else amount,
        is_credit=is_credit,
        balance=amount_text(line.balance_after, currency),
    )


def range_text(page: Page, entries: int) -> str:
    """Say which part of the wallet a page has looked at."""
    if not entries:
        return "No entries yet"
    low, high = page.older.sequence, page.newer.sequence - 1
    if high < low:
        return f"None of {_count(entries, 'entry', 'entries')}"
    if low == 1 and high == entries:
        return f"All {_count(entries, 'entry', 'entries')}" if entries > 1 else "One entry"
    span = f"Entry {whole(high)}" if high == low else f"Entries {whole(high)} to {whole(low)}"
    return f"{span} of {whole(entries)}"


def _then(past: BalanceAt) -> str:
    return amount_text(past.balance, past.account.currency) if past.existed else "not opened yet"


def _count(number: int, one: str, many: str) -> str:
    return f"{whole(number)} {one if number == 1 else many}"

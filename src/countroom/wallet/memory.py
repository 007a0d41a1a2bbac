"""What a process remembers of its players, so that their next bet need not be read for.

Nothing here is trusted. A pass that decides from memory writes on the version of each purse that it
remembers, and PostgreSQL refuses it when anybody has written about the player since: another pass,
a payment, or whoever blocked the player or opened or closed a session of theirs (triggers raise
the version for these). What a version cannot tell is checked by the write itself: a key or a round
that is there already breaks a unique index, and a key that was reversed before it came is looked up
among the tombstones. A command that is refused from memory is not written, so its keys are looked up:
it may be the repeat of one that another process has answered, or this one long ago. Whatever does not
hold is forgotten, and read.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from countroom.wallet.commands import Bet, Command, Win
from countroom.wallet.state import Facts, Purse, Round, Session, Writes

PLAYERS_MAX: Final = 20_000
"""The latest players: a kilobyte or two for each."""
ROUNDS_MAX: Final = 4
"""Rounds of a player: the one that is played, and a few whose win is late."""
SESSIONS_MAX: Final = 4
"""Sessions of a player: as many games as anybody plays at once."""
KEYS_MAX: Final = 50_000
"""Keys of the latest commands, twice: a provider repeats within seconds, and a key that is known to be
used is read at once instead of being refused first."""


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Player(msgspec.Struct):
    """What was true of a player at the purse's version."""

    purse: Purse
    status: str
    sessions: dict[tuple[UUID, UUID | None], Session]
    """By game and the session asked for."""
    rounds: dict[tuple[UUID, str], Round]


class Memory:
    """The latest players. Passes that are under way at once never have a player in common."""

    def __init__(self) -> None:
        self._players: OrderedDict[tuple[UUID, str], _Player] = OrderedDict()
        self._keys: set[str] = set()
        self._older_keys: set[str] = set()

    def recall(self, commands: Sequence[Command], facts: Facts) -> list[Command]:
        """Put what is remembered into ``facts``; return the commands that have to be read for.

        All that is known of a player comes from here, or none of it: what is read may be newer.
        """
        found: dict[tuple[UUID, str], _Player | None] = {}
        for command in commands:
            whose = (command.user_id, command.currency)
            if whose not in found or found[whose] is not None:
                found[whose] = self._player_for(command, whose)
        if None in found.values():
            unread = [command for command in commands if found[command.user_id, command.currency] is None]
        else:
            unread = []
        for whose, player in found.items():
            if player is not None:
                user_id = whose[0]
                facts.purses[whose] = player.purse
                facts.player_status[user_id] = player.status
                for (game_id, session_id), session in player.sessions.items():
                    facts.sessions[user_id, game_id, session_id] = session
                facts.rounds |= player.rounds
                for round_ in player.rounds.values():
                    facts.rounds_by_id[round_.id] = round_
        return unread

    def learn(self, commands: Sequence[Command], facts: Facts, writes: Writes) -> None:
        """Remember what is true after a pass that has been written."""
        for written in writes.purses.values():
            written.version += 1
        for command in commands:
            whose, play = (command.user_id, command.currency), command.play
            purse = facts.purses.get(whose)
            if play is None or purse is None:
                continue
            player = self._players.get(whose)
            if player is None or player.purse is not purse:
                player = self._players[whose] = _Player(purse, facts.player_status[command.user_id], {}, {})
            self._players.move_to_end(whose)
            session = facts.sessions.get((command.user_id, play.game_id, play.session_id))
            if session is not None:
                _keep(player.sessions, (play.game_id, play.session_id), session, SESSIONS_MAX)
            round_ = facts.rounds.get((play.game_id, play.round_key))
            if round_ is not None:
                _keep(player.rounds, (play.game_id, play.round_key), round_, ROUNDS_MAX)
        for user_id, _, currency in writes.new_sessions.values():
            self._players.pop((user_id, currency), None)  # its session has raised the version once more
        self._remember_keys(writes)
        while len(self._players) > PLAYERS_MAX:
            self._players.popitem(last=False)

    def forget(self, commands: Iterable[Command]) -> None:
        """Forget the players of a pass that was not written, or of which nobody knows."""
        for command in commands:
            self._players.pop((command.user_id, command.currency), None)

    def _player_for(self, command: Command, whose: tuple[UUID, str]) -> _Player | None:
        """Return the player, if everything that the command needs is remembered or certainly new."""
        player, play = self._players.get(whose), command.play
        if player is None or play is None or (play.game_id, play.session_id) not in player.sessions:
            return None
        opens = False
        for operation in command.operations:
            key = f"{command.source}:{operation.key}"
            if not isinstance(operation, (Bet, Win)) or key in self._keys or key in self._older_keys:
                return None
            opens = opens or isinstance(operation, Bet)
        # A round that is not remembered is new where a bet opens it; a win's may be an old one.
        return player if opens or (play.game_id, play.round_key) in player.rounds else None

    def _remember_keys(self, writes: Writes) -> None:
        self._keys.update([row.external_id for row in writes.rows])
        self._keys.update([stone.external_id for stone in writes.tombstones])
        self._keys.update([stone.target_external_id for stone in writes.tombstones])
        if len(self._keys) > KEYS_MAX:
            self._older_keys, self._keys = self._keys, set()


def _keep(kept: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Keep the latest few."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]

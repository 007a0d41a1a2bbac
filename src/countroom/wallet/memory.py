"""What a process remembers of its players, so that their next bet need not be read for.

Nothing here is trusted. A pass that decides from memory writes on the version of each purse that it
remembers, and PostgreSQL refuses it when anybody has written about the player since: another pass,
a payment, or whoever blocked the player or opened or closed a session of theirs (triggers raise
the version for these). Plain bets and wins of other processes do not matter to those of this one: they are added to
what is there (docs/decisions/0031), and what the balance has become is learnt from the write.

What a version cannot tell is checked by the write itself: a round that has ended is not added to, a key or
a round that is there already breaks a unique index, and a key that was reversed before it came is looked
up among the tombstones. A command that is refused from memory is not written, so its keys are looked up:
it may be the repeat of one that another process has answered, or this one long ago. Whatever does not
hold is forgotten, and read.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from countroom.wallet.commands import Bet, Command, Win
from countroom.wallet.state import Facts, Player, Writes

PLAYERS_MAX: Final = 20_000
"""The latest players, or half as many: a kilobyte or two for each."""
ROUNDS_MAX: Final = 4
"""Rounds of a player: the one that is played, and a few whose win is late."""
SESSIONS_MAX: Final = 4
"""Sessions of a player: as many games as anybody plays at once."""
KEYS_MAX: Final = 50_000
"""Keys of the latest commands, twice: a provider repeats within seconds, and a key that is known to be
used is read at once instead of being refused first."""


class Memory:
    """The latest players. Passes that are under way at once never have a player in common."""

    def __init__(self) -> None:
        self._players: dict[tuple[UUID, str], Player] = {}
        self._older_players: dict[tuple[UUID, str], Player] = {}
        """Those who have not played since as many others have: moving one to the end each time would cost more."""
        self._keys: set[str] = set()
        self._older_keys: set[str] = set()

    def __len__(self) -> int:
        """How many players are remembered."""
        return len(self._players) + len(self._older_players)

    def recall(self, commands: Sequence[Command], facts: Facts) -> list[Command]:
        """Put the remembered players into ``facts``; return the commands that have to be read for.

        All that is known of a player comes from here, or none of it: what is read may be newer.
        """
        unknown: set[tuple[UUID, str]] = set()
        for command in commands:
            whose = (command.user_id, command.currency)
            player = self._players.get(whose)
            if player is None:
                player = self._older_players.pop(whose, None)
                if player is not None:
                    self._players[whose] = player
            if player is None or not self._suffices(player, command):
                unknown.add(whose)
            else:
                facts.players[whose] = player
        if not unknown:
            return []
        for whose in unknown:
            facts.players.pop(whose, None)
        return [command for command in commands if (command.user_id, command.currency) in unknown]

    def learn(self, facts: Facts, writes: Writes, read: Iterable[Command]) -> None:
        """Remember what is true after a pass that has been written, for which these commands had been ``read``."""
        for written in writes.purses.values():
            written.lines = written.main.sequence
            if not writes.is_plain:
                written.version += 1
        for command in read:
            whose = (command.user_id, command.currency)
            player = facts.players.get(whose)
            self._older_players.pop(whose, None)  # what is remembered is older
            if player is None or not player.sessions:
                self._players.pop(whose, None)
            else:
                self._players[whose] = player
        for player in facts.players.values():
            if player is not None:
                _keep_latest(player.sessions, SESSIONS_MAX)
                _keep_latest(player.rounds, ROUNDS_MAX)
        for user_id, _, currency in writes.new_sessions.values():
            self._forget((user_id, currency))  # its session has raised the version once more
        self._remember_keys(writes)
        if len(self._players) * 2 >= PLAYERS_MAX:
            self._players, self._older_players = {}, self._players

    def forget(self, commands: Iterable[Command]) -> None:
        """Forget the players of a pass that was not written, or of which nobody knows."""
        for command in commands:
            self._forget((command.user_id, command.currency))

    def forget_everybody(self) -> None:
        """Forget all players: somebody else has written about many of them."""
        self._players.clear()
        self._older_players.clear()

    def _forget(self, whose: tuple[UUID, str]) -> None:
        self._players.pop(whose, None)
        self._older_players.pop(whose, None)

    def _suffices(self, player: Player, command: Command) -> bool:
        """Whether everything that the command needs is remembered of the player, or certainly new."""
        play = command.play
        if play is None or (play.game_id, play.session_id) not in player.sessions:
            return False
        opens = False
        for operation in command.operations:
            key = f"{command.source}:{operation.key}"
            if not isinstance(operation, (Bet, Win)) or key in self._keys or key in self._older_keys:
                return False
            opens = opens or isinstance(operation, Bet)
        # A round that is not remembered is new where a bet opens it; a win's may be an old one.
        return opens or (play.game_id, play.round_key) in player.rounds

    def _remember_keys(self, writes: Writes) -> None:
        self._keys.update([row.external_id for row in writes.rows])
        self._keys.update([stone.external_id for stone in writes.tombstones])
        self._keys.update([stone.target_external_id for stone in writes.tombstones])
        if len(self._keys) > KEYS_MAX:
            self._older_keys, self._keys = self._keys, set()


def _keep_latest(kept: dict[Any, Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]

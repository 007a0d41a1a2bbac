"""Whether messages keep the contract: by their usual form where they have it, else by a typed decode."""

from collections.abc import Callable, Sequence

import msgspec

from countroom.events import canonical, contract
from countroom.events.wal import Message

SetAside = Callable[[Message, str], None]
"""Keeps a message that cannot be stored, with the reason; returns once it is committed."""


class Check:
    """Checks the messages of one topic, and learns their usual form from one that is fine."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._decode = msgspec.json.Decoder(contract.MESSAGES[topic]).decode
        self._usual: canonical.Matches = lambda _body: None
        self._names: list[str] | None = None

    def fine(self, messages: list[Message], set_aside: SetAside) -> Sequence[Message]:
        """Return the messages that keep the contract; set the others aside."""
        usual = self._usual
        unusual = [number for number, message in enumerate(messages) if not usual(message.body)]
        if not unusual:
            return messages
        broken = set()
        has_learned = False
        for number in unusual:
            message = messages[number]
            if has_learned and self._usual(message.body):
                continue
            try:
                self._decode(message.body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                broken.add(number)
                set_aside(message, f"breaks the contract: {error}")
            else:
                has_learned = has_learned or self._learn(message.body)
        return [message for number, message in enumerate(messages) if number not in broken] if broken else messages

    def _learn(self, body: bytes) -> bool:
        """Expect the next messages to look like this one; say whether that is something new."""
        names = canonical.names(body)
        if names is None or names == self._names:
            return False
        form = canonical.form(self._topic, names)
        if form is None:
            return False
        self._usual, self._names = form, names
        return True

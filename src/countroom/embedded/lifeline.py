"""A process that was started by another ends with it, even when that one is killed with -9.

The owner holds the write end of a pipe and gives its children the read end. Nothing is ever
written: the kernel closes the write end when the owner is gone, whatever ended it, and the
children read the end of the file. Works alike on Linux and macOS.
"""

import os
import signal
import stat
import threading
from typing import Final, Self

VARIABLE: Final = "COUNTROOM_LIFELINE"
"""The environment variable that carries the number of the read end to a child."""


class Lifeline:
    """The owner's side: give ``read_end`` to each child in ``pass_fds``, and its number in the environment."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def environment(self) -> dict[str, str]:
        """Return the variable by which a child finds its end."""
        return {VARIABLE: str(self.read_end)}

    def close(self) -> None:
        """Let go: children that still run end now."""
        os.close(self._write_end)
        os.close(self.read_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def watch() -> None:
    """Send this process SIGTERM when its owner is gone. Does nothing for a process without an owner.

    Call it first thing in a child. The variable is removed, so that a grandchild, which has not
    inherited the pipe, does not mistake another file for it.
    """
    text = os.environ.pop(VARIABLE, "")
    if not text.isdigit():
        return
    end = int(text)
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(end).st_mode)
    except OSError:
        return
    if is_pipe:
        os.set_inheritable(end, False)
        threading.Thread(target=_wait_for_the_end, args=(end,), name="lifeline", daemon=True).start()


def _wait_for_the_end(end: int) -> None:
    while os.read(end, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

"""The `countroom` command."""

import os
import sys
from collections.abc import Sequence
from typing import Final

import cyclopts

from countroom import __version__
from countroom.commands import configure_log, console
from countroom.embedded import lifeline
from countroom.refusal import Refusal
from countroom.settings import SettingsError, load

app: Final = cyclopts.App(
    name="countroom",
    version=__version__,
    help="The money and data core of a licensed online casino.\n\n"
    "Try `countroom up` first: it starts everything here, with embedded stores, and plays. Every command "
    "uses the stores of a running `up` on the same data folder, starts its own if there is none, or uses "
    "DATABASE_URL, REDIS_URL and CLICKHOUSE_URL where they are set. See docs/settings.md.",
)
staff: Final = cyclopts.App(name="staff", help="Accounts of those who work here.")
dead_letters: Final = cyclopts.App(name="dead-letters", help="Messages that could not be stored in the warehouse.")
games: Final = cyclopts.App(name="games", help="The catalogue: list games, show one, import a provider's feed.")
bench: Final = cyclopts.App(name="bench", help="Measure on this machine; the last line is JSON.")
app.command(staff)
app.command(bench)
app.command(dead_letters)
app.command(games)
for _name in (
    "up",
    "serve",
    "pipeline",
    "relay",
    "debezium",
    "load",
    "work",
    "migrate",
    "refresh",
    "rebuild",
    "check",
    "reconcile",
    "simulate",
):
    app.command(f"countroom.commands.{_name}:{_name}", name=_name)
app.command("countroom.commands.seal:seal", name="seal")
staff.command("countroom.commands.staff:add", name="add")
staff.command("countroom.commands.staff:reset_password", name="reset-password")
for _name in ("list", "show", "retry", "discard"):
    dead_letters.command(f"countroom.commands.dead_letters:{_name}_", name=_name)
for _name in ("list", "show", "import"):
    games.command(f"countroom.commands.games:{_name}_", name=_name)
for _name in ("bet", "check", "pipeline", "providers", "seals", "wallet"):
    bench.command(f"countroom.commands.bench:{_name}", name=_name)


def _fill_lists(asked: Sequence[str]) -> None:
    """Import the commands whose list is asked for: what each does stands in its own docstring."""
    words = [word for word in asked if word not in app.help_flags]
    groups = {"": app, "bench": bench, "dead-letters": dead_letters, "games": games, "staff": staff}
    group = groups.get(" ".join(words))
    if group is not None:
        for name in list(group):
            group[name]


def main() -> None:
    """Run the command line. Expected problems are one sentence, and exit code 1."""
    lifeline.watch()
    try:
        configure_log(load(os.environ))
        _fill_lists(sys.argv[1:])
        sys.exit(app())
    except SettingsError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
    except Refusal as refusal:
        console.print(refusal.sentence, style="red", markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print("Interrupted.")
    sys.exit(1)


if __name__ == "__main__":
    main()

"""PostgreSQL refuses to run as root, so under root it runs as somebody who owns nothing else.

That user must reach the binaries and the data. A check-out or a data folder below a folder that
only root can enter (``/root`` itself, often) is beyond it; the permissions of somebody's folders
are never changed for that. What it cannot reach is placed in a system folder instead.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from countroom.embedded.process import StoreFailed

NAMES: Final = ("nobody", "daemon")
"""System users without a login, present on every Linux and macOS; the first that exists is taken."""
SYSTEM_FOLDERS: Final = (Path("/var/lib/countroom"), Path("/var/tmp/countroom"))  # noqa: S108 - checked below for its owner
SHELL: Final = "/bin/sh"


class Account(msgspec.Struct, frozen=True):
    """A user of the operating system."""

    name: str
    user: int
    group: int


def account(data: Path | None = None) -> Account | None:
    """Return as whom PostgreSQL runs: None (as we are) unless we are root.

    Data that an ordinary user made keeps running as that user.
    """
    if os.geteuid() != 0:
        return None
    if data is not None and data.exists() and data.stat().st_uid != 0:
        owner = data.stat()
        try:
            name = pwd.getpwuid(owner.st_uid).pw_name
        except KeyError:
            name = f"user {owner.st_uid}"
        return Account(name, owner.st_uid, owner.st_gid)
    for name in NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise StoreFailed("PostgreSQL does not run as root, and this system has no user nobody: run as an ordinary user.")


def can_enter(who: Account, folder: Path) -> bool:
    """Whether a user can enter a folder, found out by doing it: modes alone do not tell everything."""
    return _succeeds(who, [SHELL, "-c", 'cd "$1"', SHELL, str(folder)])


def can_run(who: Account, binaries: Path) -> bool:
    """Whether a user can run the PostgreSQL in ``binaries`` and read the files beside it."""
    share = binaries.parent / "share"
    return _succeeds(who, [str(binaries / "postgres"), "--version"]) and (
        not share.exists() or _succeeds(who, [SHELL, "-c", 'cd "$1" && ls >/dev/null', SHELL, str(share)])
    )


def _succeeds(who: Account, command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command, user=who.user, group=who.group, extra_groups=[], cwd="/", capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def system_folder() -> Path:
    """Return the folder, root's own, below which everybody can be given a place; it is made when missing."""
    for folder in SYSTEM_FOLDERS:
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
            found = folder.lstat()
        except OSError:
            continue
        # In /var/tmp anybody may have been there first.
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022
        if is_ours and os.access(folder, os.W_OK):
            return folder
    raise StoreFailed(f"Neither of {', '.join(map(str, SYSTEM_FOLDERS))} can be used: run as an ordinary user.")


def reachable_binaries(who: Account, binaries: Path, say: Callable[[str], None]) -> Path:
    """Return binaries that a user can run: these, or a copy of them in the system folder."""
    if can_run(who, binaries):
        return binaries
    installed = binaries.parent
    origin = f"{installed} {(binaries / 'postgres').stat().st_mtime_ns}"
    target = system_folder() / f"postgresql-{hashlib.sha256(origin.encode()).hexdigest()[:12]}"
    # The names of the last two folders stay: libraries are found relative to the binaries.
    copied = target / installed.parent.name / installed.name
    if not copied.exists():
        say(f"{who.name} cannot reach {installed}: PostgreSQL's programs are copied to {target}.")
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(installed, draft / installed.parent.name / installed.name, symlinks=True)
        libraries = installed.parent.with_name(installed.parent.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        _open_for_reading(draft)
        try:
            draft.rename(target)
        except OSError:
            shutil.rmtree(draft)  # another process has just done the same
    if not can_run(who, copied / "bin"):
        raise StoreFailed(f"{who.name} cannot run the copy of PostgreSQL in {target}; run as an ordinary user.")
    return copied / "bin"


def _open_for_reading(folder: Path) -> None:
    """Let everybody read and run the copy, whatever the modes of the original were."""
    for here, _, files in os.walk(folder):
        Path(here).chmod(0o755)
        for name in files:
            path = Path(here) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)

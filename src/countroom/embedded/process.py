"""Starting, watching and ending the processes of the stores; finding those that an earlier owner left."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from countroom.refusal import Refusal

START_SECONDS: Final = 60.0
"""How long a store may take until it answers: recovery after a crash reads its whole log."""
LOG_BYTES_MAX: Final = 10 * 1024 * 1024
"""A log that is longer than this at a start is put aside, and the one before it dropped."""
POLL_SECONDS: Final = 0.02
SERVER_PORTS: Final = 12_000, 32_000
"""Where a port for a server is looked for: see :func:`free_port`."""

_returned: Final[set[int]] = set()


class StoreFailed(Refusal):
    """A store could not be started."""

    kind = "unavailable"
    code = "store_failed"


def open_log(path: Path) -> int:
    """Open a log for appending and return its descriptor; a long one is put aside first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def last_lines(path: Path, count: int = 5) -> str:
    """Return the end of a log, for the sentence that says why something did not start."""
    with suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    return ""


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str],
    folder: Path | str = "/",
    user: int | None = None,
    group: int | None = None,
    pass_fds: Sequence[int] = (),
    own_session: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a process, its output in ``log``; in a session of its own a Ctrl-C in the terminal does not reach it."""
    descriptor = open_log(log)
    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=dict(environment),
            cwd=folder,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            pass_fds=pass_fds,
            start_new_session=own_session,
        )
    finally:
        os.close(descriptor)


def python_environment() -> dict[str, str]:
    """Return what a Python child needs to find this very package, wherever it was started from."""
    paths = [str(Path(__file__).resolve().parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join(str(Path(path).resolve()) for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
    }


def stop(process: subprocess.Popen[bytes], how: signal.Signals, seconds: float) -> None:
    """Ask a child to end, and kill it when it has not after ``seconds``. It is reaped in any case."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def wait_until(
    answers: Callable[[], bool],
    process: subprocess.Popen[bytes],
    *,
    name: str,
    log: Path,
    seconds: float = START_SECONDS,
) -> None:
    """Wait until a store answers.

    Raises:
        StoreFailed: when it ends first, or does not answer in time; with the last lines of its log.
    """
    deadline = time.monotonic() + seconds
    while not answers():
        code = process.poll()
        if code is not None:
            raise StoreFailed(f"{name} ended with code {code} while starting. Its log, {log}, ends:\n{last_lines(log)}")
        if time.monotonic() > deadline:
            raise StoreFailed(f"{name} did not answer within {seconds:.0f} s. Its log, {log}, ends:\n{last_lines(log)}")
        time.sleep(POLL_SECONDS)


def is_alive(pid: int) -> bool:
    """Whether a process runs. A zombie, dead but not yet reaped by its parent, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        return True
    try:
        return stat.read_text(errors="replace").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def works_in(pid: int, folder: Path) -> bool:
    """Whether a process is at work in a folder: proof that a pid found in a file is still ours.

    Each store makes its data folder its working folder, or names it on its command line.
    """
    if not is_alive(pid):
        return False
    if Path("/proc/self/cwd").exists():
        with suppress(OSError):
            if Path(f"/proc/{pid}/cwd").resolve() == folder.resolve():
                return True
        with suppress(OSError):
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return any(part == os.fsencode(folder) or part.startswith(os.fsencode(folder) + b"/") for part in arguments)
        return False
    listed = subprocess.run(
        [shutil.which("ps") or "/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    )
    return str(folder) in listed.stdout


def at_work_in(folder: Path) -> list[int]:
    """Return the processes whose working folder this is. Empty where the system does not tell (macOS)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink() == folder.resolve() and is_alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def end_orphan(pid: int, folder: Path, how: signal.Signals, seconds: float = 20.0) -> bool:
    """End a process that an earlier, killed owner left at work in ``folder``; returns whether there was one."""
    if not works_in(pid, folder):
        return False
    for sign, patience in ((how, seconds), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + patience
        while works_in(pid, folder):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        else:
            return True
    raise StoreFailed(f"Process {pid} still works in {folder} and cannot be ended; end it, then start again.")


def read_pid(path: Path) -> int | None:
    """Return the number on the first line of a pid file, if there is one."""
    try:
        first = path.read_text().split("\n", 1)[0].strip()
    except OSError:
        return None
    return int(first) if first.isdigit() else None


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on this port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def port_answers(port: int) -> bool:
    """Whether something listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port of 127.0.0.1 for a server that starts later: nobody uses it, and it was not returned before.

    It lies below the ports that systems give to outgoing connections (from 32768 on Linux). There, one of our own
    clients could be given it while its server is away, even by connecting to it: the server could not come back.
    """
    while True:
        port = random.randint(*SERVER_PORTS)  # noqa: S311 - not a secret: two processes should not try the same
        if port not in _returned and port_is_free(port):
            _returned.add(port)
            return port


def keep_port(path: Path) -> int:
    """Return the port remembered in a file when it is free, else another free one, which is remembered."""
    remembered = read_pid(path)
    if remembered is not None and port_is_free(remembered):
        return remembered
    port = free_port()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(f"{port}\n")
    return port

"""Plant a fault in a copy of the source, and run what must find it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

from faults import ROOT, Fault

PROOF: Final = re.compile(r"promise='(P\d)'")
VIOLATION: Final = re.compile(r"violations=\(['\"](.*?)['\"],?[ )]", re.DOTALL)
SECONDS_MAX: Final = 300
"""For the tests of one fault."""


class Found(NamedTuple):
    """Who found a fault."""

    tests: list[str]
    promises: list[str]
    """Which the proof of the books says are broken."""
    said: str
    """What it says about them, or else the first of the tests."""


class DidNotRunError(Exception):
    """The tests failed, and not for the fault."""


def run(fault: Fault, folder: Path) -> Found:
    """Run a fault's tests on a copy of the source, in ``folder``, that has the fault.

    Raises:
        MovedOnError: the code is no longer what the fault was written for.
        DidNotRunError: nothing can be said about the fault.
    """
    source = folder / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    changed = source / "countroom" / fault.file
    changed.write_text(fault.planted(changed.read_text()))
    report = folder / "report.xml"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *fault.tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    if done.returncode not in {0, 1}:
        raise DidNotRunError(f"{fault.what}:\n{done.stdout}{done.stderr}")
    tests, promises, said = [], [], ""
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest has just written it
        for found in case:
            text = f"{found.get('message')}\n{found.text}"
            if found.tag == "failure":
                tests.append(case.get("name", ""))
                said = said or _said(found.text or "")
            elif found.tag == "error" and (broken := PROOF.findall(text)):
                promises += broken
                said = match[1] if (match := VIOLATION.search(text)) else said
            elif found.tag == "error":
                raise DidNotRunError(f"{fault.what}:\n{text}")
    return Found(tests, sorted(set(promises)), said)


def _said(text: str) -> str:
    """Return the first line of what pytest found wrong."""
    return next((line[2:].strip() for line in text.splitlines() if line.startswith("E ")), "")

"""Whoever types `countroom` is told what there is, and what each of it is for."""

import os
import re
import subprocess
import sys

import pytest

from countroom.__main__ import app, bench


@pytest.mark.parametrize("asked", ["", "bench --help"])
def test_every_command_of_a_list_says_what_it_is_for(asked: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "countroom", *asked.split()],
        env={**os.environ, "COLUMNS": "120"}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    said = dict(re.findall(r"^│ ([a-z][a-z-]*) +(\S.*?) +│$", done.stdout, re.MULTILINE))
    group = bench if asked else app
    assert set(said) == {name for name in group if not name.startswith("-")}
    assert all(len(summary.split()) >= 3 for summary in said.values()), said

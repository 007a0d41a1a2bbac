"""`make mutants` takes minutes; that it still has something to plant, and where, is tested each time."""

import ast
from dataclasses import replace
from pathlib import Path

import planting
import pytest
from faults import FAULTS, ROOT, Fault, MovedOnError


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_the_fault_can_be_planted_and_its_tests_exist(fault: Fault) -> None:
    source = (ROOT / "src" / "countroom" / fault.file).read_text()
    assert _meaning(fault, fault.planted(source)) != _meaning(fault, source)
    for test in fault.tests:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text()


def _meaning(fault: Fault, source: str) -> str:
    """Return a program without its layout; a statement as it is."""
    return ast.dump(ast.parse(source)) if fault.file.endswith(".py") else source


def test_code_that_has_moved_on_is_said_loudly() -> None:
    with pytest.raises(MovedOnError, match="0 times"):
        FAULTS[0].planted("nothing of the kind")


def test_a_planted_fault_is_found_and_without_it_nothing_is(tmp_path: Path) -> None:
    split = next(fault for fault in FAULTS if "split the wrong way" in fault.what)
    quick = replace(split, tests=split.tests[:1])  # needs no store
    assert planting.run(quick, tmp_path / "with").tests == ["test_a_win_is_split_to_the_last_unit"]
    assert planting.run(replace(quick, fault=quick.code), tmp_path / "without") == planting.Found([], [], "")

"""Which currencies can be configured: those that two decimals hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from countroom.money import EXPONENTS, THREE_DECIMALS
from countroom.settings import SettingsError, load

REASON = "has three decimals, and money is kept as decimal(18,2); it cannot be held exactly."


@pytest.mark.parametrize("code", sorted(THREE_DECIMALS))
@pytest.mark.parametrize("name", ["COUNTROOM_CURRENCIES", "COUNTROOM_REPORTING_CURRENCY"])
def test_a_currency_with_three_decimals_is_refused_with_the_reason(name: str, code: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({name: code})
    assert f"{name}: {code} {REASON}" in str(refused.value)


def test_every_other_one_has_a_smallest_unit_that_the_columns_hold() -> None:
    assert set(EXPONENTS.values()) <= {0, 1, 2}
    assert not THREE_DECIMALS & EXPONENTS.keys()
    assert load({"COUNTROOM_CURRENCIES": ",".join(EXPONENTS)}).currencies == tuple(EXPONENTS)


def test_the_command_line_says_so_before_anything_is_started(tmp_path: Path) -> None:
    environment = {"COUNTROOM_DATA": str(tmp_path / "data"), "COUNTROOM_CURRENCIES": "EUR,KWD"}
    for command in ("up", "serve", "migrate", "check"):
        done = subprocess.run(
            [sys.executable, "-m", "countroom", command],
            env=environment | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 1
        assert f"COUNTROOM_CURRENCIES: KWD {REASON}" in said, said
        assert "Traceback" not in said
        assert not (tmp_path / "data").exists()

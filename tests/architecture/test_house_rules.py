"""What import-linter cannot say about the code, and a reviewer should not have to repeat."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "countroom"
SOURCES = sorted(PACKAGE.rglob("*.py"))

LINES_MAX = 600
"""Rooms are split by noun at about 400 lines, so that each file is read at a sitting; past this there is no excuse."""
READS_THE_ENVIRONMENT = {
    # One frozen settings object is read from the environment and passed down. These start
    # processes, whose environment it then is.
    "__main__.py",
    "commands",
    "bench",
    "embedded",
    "demo",
}


def _room(source: Path) -> str:
    return source.relative_to(PACKAGE).parts[0]


def _imported(source: Path) -> Iterator[str]:
    module = ("countroom", *source.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = module[: len(module) - node.level] if node.level else ()
            base = ".".join((*inside, *filter(None, [node.module])))
            yield from (f"{base}.{alias.name}" for alias in node.names)
            yield base


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_queries_are_asked_only_within_their_room(source: Path) -> None:
    rooms = {
        match[1] for name in _imported(source) if (match := re.match(r"countroom\.(\w+)(?:\.\w+)*\.\w*queries\b", name))
    }

    assert rooms <= {_room(source)}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_read_at_a_sitting(source: Path) -> None:
    assert len(source.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_environment_is_read_in_one_place(source: Path) -> None:
    if _room(source) in READS_THE_ENVIRONMENT:
        return
    attributes = {
        ast.unparse(node) for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Attribute)
    }

    assert not attributes & {"os.environ", "os.getenv", "os.putenv"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_money_is_never_a_float(source: Path) -> None:
    """A column of money is read with Decimal; only rates, seconds and shares may be floats."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
            assert not re.search(r"amount|balance|stake|money|fee|revenue", ast.unparse(node))


def test_every_room_has_a_sentence_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir() if not path.name.startswith("_")}

    assert {room for room in rooms - {"py"} if f"`{room}" not in text} == set()


def test_every_setting_is_documented_with_the_name_that_is_read() -> None:
    name = r"\b(?:COUNTROOM_[A-Z_]+|DATABASE_URL|REDIS_URL|CLICKHOUSE_URL)\b"
    read = set(re.findall(name, (PACKAGE / "settings.py").read_text()))
    rows = re.findall(rf"^\| `({name})`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)

    assert sorted(rows) == sorted(read)


def _pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==(.*?) \\$", text, re.MULTILINE))


def test_tests_run_on_exactly_what_is_shipped() -> None:
    shipped, tested = _pins("run.txt"), _pins("test.txt")

    assert len(shipped) > 0
    # What is shipped for some systems only, a library of the tests may want everywhere: of the same version.
    other = {name: pin for name, pin in shipped.items() if tested.get(name) not in {pin, pin.partition(" ;")[0]}}
    assert other == {}


def test_each_dependency_is_pinned_with_hashes_and_no_registry_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[^a-z0-9.-]", line)[0].replace(".", "-") for line in project["dependencies"]}

    assert wanted - _pins("run.txt").keys() == set()
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text
        assert len(re.findall(r"^\S+==", text, re.MULTILINE)) == len(re.findall(r"==.*\\\n    --hash=sha256:", text))

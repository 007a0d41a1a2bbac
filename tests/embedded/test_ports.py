"""Ports for servers that start later."""

from pathlib import Path

from countroom.embedded.process import free_port, keep_port, port_is_free


def test_no_port_is_given_twice_nor_where_connections_are_given_theirs() -> None:
    given = [free_port() for _ in range(2_000)]

    assert len(set(given)) == len(given)
    assert max(given) < 32_768
    assert port_is_free(given[-1])


def test_a_kept_port_stays(tmp_path: Path) -> None:
    kept = keep_port(tmp_path / "port")

    assert keep_port(tmp_path / "port") == kept
    assert kept < 32_768

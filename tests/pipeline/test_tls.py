"""Kafka behind TLS: reached with the authority that signed its certificate, and a clear word with another one."""

from pathlib import Path

import pytest

from certificates import signed
from countroom import kafka as tap
from countroom.embedded.kafka import Kafka
from countroom.kafka import Configuration


def test_a_certificate_is_trusted_by_its_authority_alone_and_the_reason_is_said(
    brokers: Configuration, kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = kafka.folder.parent
    address = (folder / "tls.address").read_text()
    properties = {"bootstrap.servers": address, "security.protocol": "SSL"}
    trusting = {**properties, "ssl.ca.location": str(folder / "authority.pem")}
    tap.ensure_topics(trusting, ["users"], copies_max=1)
    producer = tap.producer(trusting)
    producer.produce("users", b"{}", "one")
    assert producer.flush(20) == 0
    assert sum(tap.ends(trusting, "somebody", ["users"]).values()) == 1

    monkeypatch.setattr(tap, "ANSWER_SECONDS", 1.0)
    signed(tmp_path / "another.pem")
    with pytest.raises(tap.KafkaAwayError, match="certificate verify failed"):
        tap.ensure_topics({**properties, "ssl.ca.location": str(tmp_path / "another.pem")}, ["users"], copies_max=1)
    with pytest.raises(tap.KafkaAwayError):
        tap.ensure_topics({"bootstrap.servers": address}, ["users"], copies_max=1)  # as if there were no TLS

"""What the pipeline's figures mean, and the words of its page."""

from datetime import UTC, datetime
from typing import Any

import pytest

from countroom import clock
from countroom.warehouse import rules
from countroom.warehouse.rules import Limits, Step
from countroom.warehouse.watch import Canaries, Process, SlotState
from countroom.web.backoffice import pipeline_views as views

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits(warn_bytes=100, alarm_bytes=1_000, warn_seconds=15, alarm_seconds=300)
SLOT = SlotState("countroom_x", is_active=True, status="reserved", unconfirmed_bytes=0, retained_bytes=10,
                 keep_bytes=1_000, safe_bytes=990, inactive_since=None)  # fmt: skip
CANARIES = Canaries(NOW, 0.2, 0.19, 0.4)


@pytest.mark.parametrize(
    ("arrived", "sent", "moment", "seconds"),
    [
        (None, 100.0, 101.0, None),
        (100.0, 100.0, 100.9, 0.2),  # all have arrived: what the newest needed
        (100.0, 101.0, 101.4, 0.4),  # one is on its way
        (100.0, 130.0, 130.5, 29.5),  # many are
        (100.0, 100.5, 200.0, 99.5),  # and nobody sends any more
        (100.0, 101.0, 100.9, 0.0),
    ],
)
def test_the_lag_is_the_age_of_the_oldest_canary_that_has_not_arrived(
    arrived: float | None, sent: float, moment: float, seconds: float | None
) -> None:
    found = rules.seconds_behind(arrived_sent_at=arrived, arrived_seconds=0.2, sent_at=sent, moment=moment)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_the_course_of_the_lag_rises_through_an_outage_and_has_a_gap_where_nobody_sent() -> None:
    steps = {
        10: Step(0.2, 19.5, has_sent=True),
        20: Step(0.3, 24.0, has_sent=True),  # then the loader is killed
        30: Step(None, None, has_sent=True),
        40: Step(16.0, 49.0, has_sent=True),  # and is back
        # the whole casino is off
        70: Step(0.1, 79.0, has_sent=True),
    }
    lags = rules.course(steps, first=0, last=90, step_seconds=10, sent_at=98.0, moment=98.5)
    waiting = [pytest.approx(seconds) for seconds in (15.0, 10.0, 18.5)]
    assert lags == [None, 0.2, 0.3, waiting[0], 16.0, None, None, 0.1, *waiting[1:]]


@pytest.mark.parametrize(
    ("slot", "level"),
    [
        ({}, "good"),
        ({"unconfirmed_bytes": 100}, "warning"),
        ({"is_active": False}, "warning"),
        ({"unconfirmed_bytes": 1_000}, "bad"),
        ({"status": "unreserved"}, "bad"),
        ({"safe_bytes": 0}, "bad"),
        ({"status": "lost", "is_active": False}, "bad"),
    ],
)
def test_a_slot_is_in_danger_before_its_log_is_lost(slot: dict[str, Any], level: str) -> None:
    asked: dict[str, Any] = {"status": "reserved", "unconfirmed_bytes": 0, "safe_bytes": None, "is_active": True}
    assert rules.slot_level(**(asked | slot), limits=LIMITS)[0] == level


def process(role: str, silent: float = 0.3, state: str = "following", **figures: float) -> Process:
    started = NOW if silent < rules.GONE_SECONDS else NOW.replace(hour=11)
    return Process(clock.new_id(), role, "one", 7, state, "a reason" if state == "retrying" else "", figures, started,
                   silent, None)  # fmt: skip


@pytest.mark.parametrize(
    ("processes", "behind", "level", "sentence"),
    [
        ([process("pipeline")], 0.2, "good", "Facts are visible 200 ms after their commit"),
        ([process("pipeline", silent=5)], 6.0, "bad", "No pipeline runs; facts wait in PostgreSQL's log"),
        ([process("relay"), process("load", silent=9)], 8.0, "bad", "No loader runs; facts wait in Kafka"),
        ([process("relay"), process("load")], 20.0, "warning", "The warehouse is 20 s behind; nothing is lost"),
        ([process("pipeline", state="retrying")], 2.0, "warning", "Pipeline tries again: a reason"),
        ([process("pipeline")], None, "unknown", "Waiting for the first canary"),
        (
            [process("load")],
            0.3,
            "good",
            "Facts are visible 300 ms after their commit",
        ),  # Debezium elsewhere reads the slot
        ([process("debezium"), process("load")], 0.3, "good", "Facts are visible 300 ms after their commit"),
        (
            [process("debezium", silent=9), process("load")],
            8.0,
            "bad",
            "No Debezium runs; facts wait in PostgreSQL's log",
        ),
        ([process("debezium", state="retrying"), process("load")], 2.0, "warning", "Debezium tries again: a reason"),
    ],
)
def test_the_page_says_first_what_matters_most(
    processes: list[Process], behind: float | None, level: str, sentence: str
) -> None:
    way = views.way(views.Seen(processes, SLOT, CANARIES, behind, (0, 1.0)), LIMITS, through_kafka=False)
    assert (way.level, way.sentence) == (level, sentence)


def test_an_empty_installation_and_a_silent_warehouse_have_words_of_their_own() -> None:
    way = views.way(views.Seen([], None, None, None, None), LIMITS, through_kafka=False)
    assert (way.level, way.sentence) == ("unknown", "Nothing carries facts yet")
    assert [stage.title for stage in way.stages] == ["PostgreSQL", "Pipeline", "ClickHouse"]
    away = views.way(views.Seen([process("pipeline")], SLOT, None, None, None), LIMITS, through_kafka=False)
    assert away.sentence == "ClickHouse does not answer; facts wait in PostgreSQL's log"


def test_a_process_that_was_replaced_is_no_trouble_and_is_forgotten_later() -> None:
    processes = [process("load", partitions=24), process("load", silent=100), process("load", silent=1_000)]
    way = views.way(views.Seen(processes, SLOT, CANARIES, 0.2, (3, 1.0)), LIMITS, through_kafka=True)
    assert [(line.standing, line.level) for line in way.processes] == [
        ("running", "good"),
        ("gone, replaced", "unknown"),
    ]
    assert way.processes[0].troubles == "24 partitions"
    assert [stage.title for stage in way.stages] == ["PostgreSQL", "Kafka Connect", "Kafka", "Loader", "ClickHouse"]


@pytest.mark.parametrize(
    ("processes", "station"),
    [
        ([process("debezium"), process("load")], ("Debezium", "running", views.NONE, "in Kafka Connect")),
        ([process("debezium", silent=30), process("relay")], ("Relay", "running", "0", "idle")),
        (
            [process("relay", silent=30), process("debezium", silent=9)],
            ("Debezium", "gone, last heard 9 s ago", "0", "start countroom debezium"),
        ),
    ],
)
def test_debezium_has_a_station_of_its_own_while_it_works_or_was_the_last_to_work(
    processes: list[Process], station: tuple[str, ...]
) -> None:
    way = views.way(views.Seen(processes, SLOT, CANARIES, 0.2, (0, 1.0)), LIMITS, through_kafka=True)
    stage = way.stages[1]
    assert (stage.title, stage.standing, stage.figure, stage.note) == station
    assert [line.role for line in way.processes] == [views.ROLES[one.role] for one in processes]


def test_a_place_in_the_log_is_written_as_postgresql_writes_it() -> None:
    assert views.place(None, 0x16_B374D848) == "16/B374D848"
    assert views.place(3, 12_345) == "partition 3, offset 12,345"

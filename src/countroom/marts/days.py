"""Where a day of the reporting time zone begins and ends."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar day as the instants between which it lies, in UTC; 23 to 25 hours long."""

    date: date
    start: datetime
    end: datetime


def day_in(zone: str, day: date) -> Day:
    """Return the instants of a calendar day in a time zone."""
    return Day(day, _midnight(zone, day), _midnight(zone, day + timedelta(days=1)))


def date_in(zone: str, moment: datetime) -> date:
    """Return the calendar day on which a moment falls in a time zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


def _midnight(zone: str, day: date) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)

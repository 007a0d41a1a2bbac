"""One frozen settings object, read from the environment once and passed down."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from countroom.money import EXPONENTS, THREE_DECIMALS

SECRET_LENGTH_MIN: Final = 16
"""Shorter secrets can be guessed by trying."""


LostSlot = Literal["copy", "stop"]
_Choice = TypeVar("_Choice", bound=str)


class SettingsError(Exception):
    """The settings cannot be used; the message lists every problem found, one a line."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that differs between installations. See docs/settings.md for each name."""

    data_dir: Path
    """COUNTROOM_DATA: where the embedded stores and generated secrets live."""
    database_url: str | None
    """DATABASE_URL: postgresql://…; unset, the embedded PostgreSQL is used."""
    redis_url: str | None
    """REDIS_URL: redis://…; unset, the embedded Valkey is used."""
    clickhouse_url: str | None
    """CLICKHOUSE_URL: http://user:password@host:port/database; unset, the embedded engine is used."""
    kafka_servers: str | None
    """COUNTROOM_KAFKA_SERVERS: host:port,…; unset, facts go into the warehouse without a broker."""
    kafka_properties: Path | None
    """COUNTROOM_KAFKA_PROPERTIES: a file with more properties of the Kafka client (TLS, SASL)."""
    secret_key: str | None
    """COUNTROOM_SECRET_KEY: encrypts provider keys at rest; unset, one is kept in the data folder."""
    host: str
    """COUNTROOM_HOST: the address that the web processes listen on."""
    port: int
    """COUNTROOM_PORT: where the API, the back office and the provider callbacks are."""
    web_processes: int
    """COUNTROOM_WEB_PROCESSES: how many web processes share that port."""
    trusted_proxies: tuple[str, ...]
    """COUNTROOM_TRUSTED_PROXIES: networks of proxies that say truly, by X-Forwarded-For, who called them."""
    callback_networks: dict[str, tuple[str, ...]]
    """COUNTROOM_CALLBACK_NETWORKS: by a game provider's code, the networks it may call from; others from anywhere."""
    currencies: tuple[str, ...]
    """COUNTROOM_CURRENCIES: in which a player may hold a wallet."""
    reporting_currency: str
    """COUNTROOM_REPORTING_CURRENCY: in which daily_kpi is added up."""
    reporting_time_zone: str
    """COUNTROOM_REPORTING_TIME_ZONE: where a day begins."""
    books_proof_seconds: int
    """COUNTROOM_BOOKS_PROOF_SECONDS: for so long in each minute may what is new in the books be proved."""
    round_unfinished_hours: int
    """COUNTROOM_ROUND_UNFINISHED_HOURS: a round that is still open after so many is unfinished, and the staff's."""
    sandbox_psp_port: int
    """COUNTROOM_SANDBOX_PSP_PORT: the demo payment provider."""
    sandbox_provider_port: int
    """COUNTROOM_SANDBOX_PROVIDER_PORT: the demo game provider."""
    sandbox_psp_url: str
    """COUNTROOM_SANDBOX_PSP_URL: where payments find the sandbox PSP."""
    sandbox_psp_secret: str | None
    """COUNTROOM_SANDBOX_PSP_SECRET: shared with the sandbox PSP; without it the PSP is refused."""
    metrics_port: int | None
    """COUNTROOM_METRICS_PORT: where relay, load and pipeline answer Prometheus; unset, nowhere."""
    lag_warn_mb: int
    """COUNTROOM_LAG_WARN_MB: log that waits for the slot, from which the page and the log warn."""
    lag_alarm_mb: int
    """COUNTROOM_LAG_ALARM_MB: the same, from which they raise an alarm."""
    lag_warn_seconds: int
    """COUNTROOM_LAG_WARN_SECONDS: the age of the oldest canary under way, from which they warn."""
    lag_alarm_seconds: int
    """COUNTROOM_LAG_ALARM_SECONDS: the same, from which they raise an alarm."""
    lost_slot: LostSlot
    """COUNTROOM_LOST_SLOT: copy the tables again when log was removed unread, or stop and say so."""
    launch_identity: Literal["not_rejected", "verified"]
    """COUNTROOM_LAUNCH_IDENTITY: what a player's identity must be before a game is launched for money."""
    second_session: Literal["replaces", "refused"]
    """COUNTROOM_SECOND_SESSION: what becomes of a launch while the same game is being played."""
    session_idle_minutes: int
    """COUNTROOM_SESSION_IDLE_MINUTES: without a bet or a win for so long, a game session ends."""
    session_hours: int
    """COUNTROOM_SESSION_HOURS: how long a game session may last altogether."""
    log_level: str
    """COUNTROOM_LOG_LEVEL: debug, info, warning or error."""


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables.

    Raises:
        SettingsError: with every problem in one message, before anything is opened.
    """
    return _Reader(environ).settings()


class _Reader:
    """Reads each variable and remembers what is wrong instead of stopping at the first."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def settings(self) -> Settings:
        psp_port = self._port("COUNTROOM_SANDBOX_PSP_PORT", 8001)
        currencies = tuple(self._currency("COUNTROOM_CURRENCIES", code) for code in self._list("COUNTROOM_CURRENCIES"))
        reporting = self.environ.get("COUNTROOM_REPORTING_CURRENCY", "EUR")
        settings = Settings(
            data_dir=Path(self.environ.get("COUNTROOM_DATA", "data")).resolve(),
            database_url=self._url("DATABASE_URL", {"postgresql", "postgres"}),
            redis_url=self._url("REDIS_URL", {"redis", "rediss", "unix"}),
            clickhouse_url=self._url("CLICKHOUSE_URL", {"http", "https"}),
            kafka_servers=self._servers("COUNTROOM_KAFKA_SERVERS"),
            kafka_properties=self._file("COUNTROOM_KAFKA_PROPERTIES"),
            secret_key=self._secret("COUNTROOM_SECRET_KEY"),
            host=self.environ.get("COUNTROOM_HOST", "127.0.0.1"),
            port=self._port("COUNTROOM_PORT", 8000),
            web_processes=self._integer("COUNTROOM_WEB_PROCESSES", 1, 1, 64),
            trusted_proxies=self._networks(
                "COUNTROOM_TRUSTED_PROXIES", self.environ.get("COUNTROOM_TRUSTED_PROXIES", "")
            ),
            callback_networks=self._networks_by_code("COUNTROOM_CALLBACK_NETWORKS"),
            currencies=currencies,
            reporting_currency=self._currency("COUNTROOM_REPORTING_CURRENCY", reporting),
            reporting_time_zone=self._time_zone("COUNTROOM_REPORTING_TIME_ZONE", "UTC"),
            books_proof_seconds=self._integer("COUNTROOM_BOOKS_PROOF_SECONDS", 4, 1, 50),
            round_unfinished_hours=self._integer("COUNTROOM_ROUND_UNFINISHED_HOURS", 24, 1, 24 * 365),
            sandbox_psp_port=psp_port,
            sandbox_provider_port=self._port("COUNTROOM_SANDBOX_PROVIDER_PORT", 8002),
            sandbox_psp_url=self._url("COUNTROOM_SANDBOX_PSP_URL", {"http", "https"}) or f"http://127.0.0.1:{psp_port}",
            sandbox_psp_secret=self._secret("COUNTROOM_SANDBOX_PSP_SECRET"),
            metrics_port=self._port("COUNTROOM_METRICS_PORT", 0) or None,
            lag_warn_mb=self._integer("COUNTROOM_LAG_WARN_MB", 250, 1, 1_000_000),
            lag_alarm_mb=self._integer("COUNTROOM_LAG_ALARM_MB", 4_000, 1, 1_000_000),
            lag_warn_seconds=self._integer("COUNTROOM_LAG_WARN_SECONDS", 15, 1, 86_400),
            lag_alarm_seconds=self._integer("COUNTROOM_LAG_ALARM_SECONDS", 300, 1, 86_400),
            lost_slot=self._one_of("COUNTROOM_LOST_SLOT", "copy", "stop"),
            launch_identity=self._one_of("COUNTROOM_LAUNCH_IDENTITY", "not_rejected", "verified"),
            second_session=self._one_of("COUNTROOM_SECOND_SESSION", "replaces", "refused"),
            session_idle_minutes=self._integer("COUNTROOM_SESSION_IDLE_MINUTES", 30, 1, 1_440),
            session_hours=self._integer("COUNTROOM_SESSION_HOURS", 24, 1, 720),
            log_level=self._one_of("COUNTROOM_LOG_LEVEL", "info", "debug", "warning", "error"),
        )
        if settings.lag_warn_mb > settings.lag_alarm_mb:
            self.problems.append("COUNTROOM_LAG_WARN_MB must not be more than COUNTROOM_LAG_ALARM_MB.")
        if settings.lag_warn_seconds > settings.lag_alarm_seconds:
            self.problems.append("COUNTROOM_LAG_WARN_SECONDS must not be more than COUNTROOM_LAG_ALARM_SECONDS.")
        if self.problems:
            raise SettingsError("These settings cannot be used:\n" + "\n".join(f"  - {p}" for p in self.problems))
        return settings

    def _list(self, name: str) -> list[str]:
        text = self.environ.get(name, "EUR,USD,GBP,SEK,JPY")
        return [code.strip() for code in text.split(",") if code.strip()]

    def _integer(self, name: str, default: int, least: int, most: int) -> int:
        text = self.environ.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            self.problems.append(f"{name} must be a whole number from {least} to {most}, not {text!r}.")
            return default
        return int(text)

    def _port(self, name: str, default: int) -> int:
        return self._integer(name, default, 1, 65_535)

    def _url(self, name: str, schemes: set[str]) -> str | None:
        text = self.environ.get(name)
        if not text:
            return None
        try:
            parts = urlsplit(text)
            fine = parts.scheme in schemes and bool(parts.netloc or parts.scheme == "unix")
            _ = parts.port
        except ValueError:
            fine = False
        if not fine:
            # The value is not repeated: it may hold a password.
            self.problems.append(f"{name} must be an address that begins with {' or '.join(sorted(schemes))}://.")
        return text

    def _servers(self, name: str) -> str | None:
        text = self.environ.get(name)
        if not text:
            return None
        if not re.fullmatch(r"[^\s,:]+:[0-9]{1,5}(,[^\s,:]+:[0-9]{1,5})*", text):
            self.problems.append(f"{name} must be host:port, or several of them with commas between, not {text!r}.")
        return text

    def _networks(self, name: str, text: str | None = None) -> tuple[str, ...]:
        text = self.environ.get(name, "") if text is None else text
        found = []
        for part in filter(None, map(str.strip, text.split(","))):
            try:
                found.append(str(ipaddress.ip_network(part)))
            except ValueError:
                self.problems.append(
                    f"{name}: {part!r} is no network; write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32."
                )
        return tuple(found)

    def _networks_by_code(self, name: str) -> dict[str, tuple[str, ...]]:
        found = {}
        for part in self.environ.get(name, "").split():
            code, _, text = part.partition("=")
            found[code] = self._networks(name, text)
            if not (code and text.strip(",")):
                self.problems.append(f"{name} must be code=network,network for each provider, with spaces between.")
        return found

    def _file(self, name: str) -> Path | None:
        text = self.environ.get(name)
        if not text:
            return None
        path = Path(text).resolve()
        if not path.is_file():
            self.problems.append(f"{name}: there is no file {path}.")
        return path

    def _secret(self, name: str) -> str | None:
        text = self.environ.get(name)
        if text is not None and len(text) < SECRET_LENGTH_MIN:
            self.problems.append(f"{name} must have at least {SECRET_LENGTH_MIN} characters.")
        return text

    def _currency(self, name: str, code: str) -> str:
        if code in THREE_DECIMALS:
            self.problems.append(
                f"{name}: {code} has three decimals, and money is kept as decimal(18,2); it cannot be held exactly."
            )
        elif code not in EXPONENTS:
            self.problems.append(f"{name}: {code!r} is not a currency that Countroom knows.")
        return code

    def _time_zone(self, name: str, default: str) -> str:
        text = self.environ.get(name, default)
        try:
            ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.problems.append(f"{name}: {text!r} is not a time zone; use a name such as Europe/Malta.")
        return text

    def _one_of(self, name: str, default: _Choice, *others: _Choice) -> _Choice:
        text = self.environ.get(name, default)
        for known in (default, *others):
            if text == known:
                return known
        self.problems.append(f"{name} must be one of {', '.join(sorted((default, *others)))}, not {text!r}.")
        return default

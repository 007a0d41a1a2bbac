"""The casino as a player's program sees it: its public HTTP interface, and the two pages it points to."""

from decimal import Decimal
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from countroom.demo.provider import Played
from countroom.settings import Settings

TIMEOUT_SECONDS: Final = 20.0
PLAY_SECONDS: Final = 75.0
"""A round may take the provider's whole envelope, twice."""

Shape = TypeVar("Shape")


class Away(Exception):  # noqa: N818 - not an answer at all
    """Nobody answers, or only to say that it cannot be done now (502 from a proxy, 503)."""


class Unexpected(Exception):  # noqa: N818 - a finding, which is counted
    """An answer that this interface should not give here."""


class SignedOut(Exception):  # noqa: N818 - an ordinary answer: 401
    """The session is over; sign in again."""


class Limited(Exception):  # noqa: N818 - an ordinary answer: 429
    """Too many requests; wait."""

    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"wait {retry_after_seconds} s")


class Conflict(Exception):  # noqa: N818 - an ordinary answer: 409
    """It contradicts what is already there; the code says what."""


class Session(msgspec.Struct):
    """What signing in gives."""

    token: str


class Wallet(msgspec.Struct):
    """A wallet; its balance is a decimal string."""

    currency: str
    type: str
    balance: str


class Wallets(msgspec.Struct):
    """A player's wallets."""

    wallets: list[Wallet]

    def playable(self, currency: str) -> Decimal:
        """Return what can be played with: main and bonus money."""
        mine = [wallet for wallet in self.wallets if wallet.currency == currency and wallet.type != "locked"]
        return sum((Decimal(wallet.balance) for wallet in mine), Decimal(0))


class Deposit(msgspec.Struct):
    """A deposit that waits to be paid."""

    id: str
    payment_url: str
    payment_intent_id: str


class Game(msgspec.Struct):
    """A game that can be launched."""

    slug: str
    provider: str


class Games(msgspec.Struct):
    """The catalogue."""

    games: list[Game]


class Launch(msgspec.Struct):
    """A game that was launched: what its provider is told."""

    session_id: str
    token: str
    account_id: str
    game_id: str
    launch_url: str


class Transaction(msgspec.Struct):
    """A line of a player's statement."""

    id: str
    type: str
    status: str
    amount: str
    currency: str


class Statement(msgspec.Struct):
    """The newest lines of a player's statement."""

    transactions: list[Transaction]


class _Said(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Problem(msgspec.Struct):
    """The casino's problem+json, and the sandboxes' own form."""

    code: str = ""
    detail: str = ""
    error: _Said = msgspec.field(default_factory=_Said)


class Casino:
    """Calls the casino's interface, the PSP's and the provider's. One connection pool for all players."""

    def __init__(self, base_url: str, http: httpx.AsyncClient) -> None:
        """Take the address of the casino; the others are learnt from its answers."""
        self._base_url = base_url.rstrip("/")
        self._http = http

    async def is_there(self) -> bool:
        """Whether somebody answers at all."""
        try:
            return (await self._http.get(f"{self._base_url}/health/live", timeout=2.0)).is_success
        except httpx.HTTPError:
            return False

    async def register(self, *, email: str, password: str, country: str, birth_date: str, currency: str) -> None:
        """Open an account. Raises Conflict when the e-mail is taken."""
        body = {"email": email, "password": password, "country": country, "birth_date": birth_date,
                "currency": currency}  # fmt: skip
        await self._api("POST", "/players", dict[str, object], 201, body=body)

    async def sign_in(self, *, email: str, password: str) -> Session:
        """Sign in. Raises SignedOut when the casino does not know these credentials."""
        return await self._api("POST", "/sign-in", Session, 200, body={"email": email, "password": password})

    async def sign_out(self, session: Session) -> None:
        """End the session."""
        await self._api("DELETE", "/session", None, 204, session=session)

    async def wallets(self, session: Session) -> Wallets:
        """Return the player's wallets."""
        return await self._api("GET", "/wallets", Wallets, 200, session=session)

    async def statement(self, session: Session) -> Statement:
        """Return the newest transactions."""
        return await self._api("GET", "/transactions?limit=20", Statement, 200, session=session)

    async def games(self, session: Session) -> Games:
        """Return the catalogue."""
        return await self._api("GET", "/games", Games, 200, session=session)

    async def launch(self, session: Session, slug: str, currency: str) -> Launch:
        """Launch a game."""
        return await self._api(
            "POST", f"/games/{slug}/launch", Launch, 201, session=session, body={"currency": currency}
        )

    async def deposit(self, session: Session, *, amount: Decimal, currency: str, key: str) -> Deposit:
        """Ask to pay something in."""
        body = {"amount": str(amount), "currency": currency, "method": "sandbox"}
        return await self._api("POST", "/deposits", Deposit, 201, session=session, body=body, key=key)

    async def decide_payment(self, deposit: Deposit, decision: str) -> None:
        """Be the player's bank: ``approve`` or ``decline`` at the PSP that the casino named."""
        url = f"{_origin(deposit.payment_url)}/intents/{deposit.payment_intent_id}/{decision}"
        await self._exchange("POST", url, dict[str, object], 200)

    async def spin(self, launch: Launch, *, currency: str, stake: Decimal, story: str, repeat: bool) -> Played:
        """Play one round at the provider that the casino named."""
        body = {"session_id": launch.session_id, "account_id": launch.account_id, "game_id": launch.game_id,
                "currency": currency, "stake": str(stake), "story": story, "repeat": repeat}  # fmt: skip
        url = f"{_origin(launch.launch_url)}/spin"
        return await self._exchange("POST", url, Played, 200, body=body, timeout=PLAY_SECONDS)

    async def settle(self, launch: Launch, round_id: str) -> Played:
        """Let the provider tell the rest of a round."""
        url = f"{_origin(launch.launch_url)}/rounds/{round_id}/settle"
        return await self._exchange("POST", url, Played, 200, body={}, timeout=PLAY_SECONDS)

    async def _api(
        self,
        method: str,
        path: str,
        shape: type[Shape] | None,
        status: int,
        *,
        session: Session | None = None,
        body: object = None,
        key: str | None = None,
    ) -> Shape:
        headers = {}
        if session:
            headers["authorization"] = f"Bearer {session.token}"
        if key:
            headers["idempotency-key"] = key
        url = f"{self._base_url}/api/v1{path}"
        return await self._exchange(method, url, shape, status, body=body, headers=headers)

    async def _exchange(
        self,
        method: str,
        url: str,
        shape: type[Shape] | None,
        status: int,
        *,
        body: object = None,
        headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109 - httpx keeps it, we only hand it on
    ) -> Shape:
        """Send a request and read the answer that is expected, or raise what else it means."""
        content = None if body is None else msgspec.json.encode(body)
        sent = {"accept": "application/json", **({"content-type": "application/json"} if content else {})}
        place = f"{method} {urlsplit(url).path}"
        try:
            response = await self._http.request(
                method, url, content=content, headers={**sent, **(headers or {})}, timeout=timeout
            )
        except httpx.HTTPError as error:
            raise Away(f"{place}: {type(error).__name__}") from error
        if response.status_code != status:
            raise _other(place, response)
        try:
            return msgspec.json.decode(response.content or b"null", type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unexpected(f"{place}: {error}") from error


def casino_url(settings: Settings) -> str:
    """Return where Countroom itself is, as seen from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - it is translated away
    return f"http://{host}:{settings.port}"


def _other(place: str, response: httpx.Response) -> Exception:
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _Problem()
    said = f"{place}: HTTP {response.status_code} {problem.code or problem.error.code} "
    said += problem.detail or problem.error.message
    match response.status_code:
        case 401:
            return SignedOut(said)
        case 409:
            return Conflict(problem.code)
        case 429:
            wait = response.headers.get("retry-after", "5")
            return Limited(min(60.0, float(wait)) if wait.isdecimal() else 5.0)
        case 503:
            return Away(said)
        case _:
            return Unexpected(said)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

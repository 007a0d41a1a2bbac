"""Opening an account, signing in and out, confirming an address."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from redis.asyncio import Redis

from countroom import clock
from countroom import redis as redis_tap
from countroom.players import attempts, mail, passwords, rules, service, sessions
from countroom.players.service import Registered, SignedIn
from countroom.postgres import Database
from countroom.redis import OTP_SECONDS, SESSION_SECONDS, otp_key
from countroom.settings import Settings
from countroom.wallet.service import wallets_of

EMAIL = "ann@example.com"
PASSWORD = "a long walk home"
HOME = "192.0.2.1"


class House:
    """The services, with whatever a test does not care to say."""

    def __init__(self, database: Database, redis: Redis, settings: Settings) -> None:
        self.database = database
        self.redis = redis
        self.settings = settings

    async def register(self, email: str = EMAIL, *, currency: str = "EUR", redis: Redis | None = None) -> Registered:
        return await service.register(
            self.database,
            redis or self.redis,
            settings=self.settings,
            email=email,
            password=PASSWORD,
            country="MT",
            birth_date=date(1990, 1, 2),
            currency=currency,
            address=HOME,
        )

    async def sign_in(
        self, email: str = EMAIL, password: str = PASSWORD, *, address: str = HOME
    ) -> tuple[str, SignedIn]:
        return await service.sign_in(self.database, self.redis, email=email, password=password, address=address)

    async def session_of(self, token: str) -> SignedIn | None:
        return await service.session_of(self.database, self.redis, token)

    async def confirm(self, player: SignedIn, code: str) -> None:
        await service.confirm_email(self.database, self.redis, settings=self.settings, player=player, code=code)

    def codes(self) -> list[str]:
        """The codes in the outbox, oldest first."""
        mails = sorted(mail.outbox(self.settings.data_dir).glob("*.eml"))
        return [re.findall(r"code is ([0-9]{6})\b", path.read_text())[0] for path in mails]


@pytest.fixture
async def house(settings: Settings, tmp_path: Path) -> AsyncIterator[House]:
    assert settings.database_url
    assert settings.redis_url
    database = await Database.connect(settings.database_url)
    redis = redis_tap.connect(settings.redis_url)
    yield House(database, redis, msgspec.structs.replace(settings, data_dir=tmp_path))
    await redis.aclose()
    await database.close()


@pytest.fixture
async def lost_redis(unused_tcp_port: int) -> AsyncIterator[Redis]:
    """A client of a Redis that is not there."""
    client = redis_tap.connect(f"redis://127.0.0.1:{unused_tcp_port}")
    yield client
    await client.aclose()


async def test_an_account_opens_with_three_empty_wallets(house: House) -> None:
    registered = await house.register("Ann@Example.com", currency="JPY")

    assert registered.email == EMAIL
    wallets = await wallets_of(house.database, registered.id)
    assert {(wallet.type, wallet.currency, str(wallet.balance)) for wallet in wallets} == {
        ("main", "JPY", "0.00"),
        ("bonus", "JPY", "0.00"),
        ("locked", "JPY", "0.00"),
    }


async def test_a_password_is_kept_as_argon2id(house: House) -> None:
    registered = await house.register()

    row = await house.database.fetchrow("SELECT password_hash FROM users WHERE id = $1", registered.id)
    assert row is not None
    assert row["password_hash"].startswith("$argon2id$")


async def test_of_ten_registrations_at_once_with_one_address_one_opens(house: House) -> None:
    answers = await asyncio.gather(*(house.register() for _ in range(10)), return_exceptions=True)

    assert sum(isinstance(answer, Registered) for answer in answers) == 1
    assert sum(isinstance(answer, service.EmailTaken) for answer in answers) == 9
    row = await house.database.fetchrow("SELECT count(*) AS wallets FROM wallet_accounts")
    assert row is not None
    assert row["wallets"] == 3


async def test_a_refused_registration_leaves_nothing(house: House) -> None:
    with pytest.raises(rules.CurrencyNotOffered):
        await house.register(currency="CZK")

    assert await house.database.fetchrow("SELECT FROM users") is None
    assert house.codes() == []


async def test_each_sign_in_gives_a_new_token_that_redis_never_sees(house: House) -> None:
    registered = await house.register()

    (first, _), (second, signed) = await house.sign_in(), await house.sign_in(" ANN@example.com ")

    assert first != second
    assert signed.player_id == registered.id
    keys = [key async for key in house.redis.scan_iter("*")]
    assert sum(key.startswith("session:") for key in keys) == 2
    for key in keys:
        assert first not in key
        kind = await house.redis.type(key)
        assert kind != "string" or first not in str(await house.redis.get(key))
        assert 0 < await house.redis.ttl(key) <= SESSION_SECONDS


async def test_unknown_address_and_wrong_password_get_one_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.register()
    checked: list[str] = []
    verify = passwords._HASHER.verify

    class Counting:
        def verify(self, password_hash: str, password: str) -> bool:
            checked.append(password_hash)
            return verify(password_hash, password)

        def hash(self, password: str) -> str:
            return hash_once(password)

    hash_once = passwords._HASHER.hash
    monkeypatch.setattr(passwords, "_HASHER", Counting())
    refusals = []
    for email in (EMAIL, "nobody@example.com", "no address", "zero\x00byte@example.com"):
        with pytest.raises(service.WrongCredentials) as refused:
            await house.sign_in(email, "not the password")
        refusals.append((refused.value.code, refused.value.sentence, refused.value.field))

    assert len(set(refusals)) == 1
    # The same work was done each time, with the same parameters.
    assert len(checked) == 4
    assert len({password_hash.rsplit("$", 2)[0] for password_hash in checked}) == 1


@pytest.mark.parametrize("status", ["blocked", "closed"])
async def test_a_blocked_account_is_out_at_once_and_stays_out(house: House, status: str) -> None:
    registered = await house.register()
    token, _ = await house.sign_in()

    await house.database.pool.execute("UPDATE users SET status = $2::user_status WHERE id = $1", registered.id, status)

    assert await house.session_of(token) is None
    with pytest.raises(service.AccountNotActive):
        await house.sign_in()
    with pytest.raises(service.WrongCredentials):  # who does not know the password learns nothing
        await house.sign_in(password="not the password")


async def test_a_new_password_ends_the_sessions_of_the_old_one(house: House) -> None:
    registered = await house.register()
    token, _ = await house.sign_in()
    new_hash = await passwords.hash_password("another long walk")

    await house.database.pool.execute("UPDATE users SET password_hash = $2 WHERE id = $1", registered.id, new_hash)

    assert await house.session_of(token) is None


async def test_signing_out_ends_one_session_for_good(house: House) -> None:
    await house.register()
    (token, _), (other, _) = await house.sign_in(), await house.sign_in()

    await service.sign_out(house.redis, token)

    assert await house.session_of(token) is None
    assert await house.session_of(other) is not None
    await service.sign_out(house.redis, token)


async def test_a_session_ends_at_its_time_even_if_redis_keeps_it(house: House) -> None:
    await house.register()
    token, signed = await house.sign_in()

    for seconds, holds in ((-1, True), (0, False), (1, False)):
        moment = signed.expires_at + timedelta(seconds=seconds)
        found = await service.session_of(house.database, house.redis, token, clock=lambda moment=moment: moment)  # type: ignore[misc]
        assert (found is not None) == holds


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "x" * 10_000, "ü" * 43, "*", "session:*"])
async def test_a_token_that_was_never_given_is_nobodys(house: House, token: str) -> None:
    assert await house.session_of(token) is None


async def test_failures_at_one_place_close_that_place_only(house: House) -> None:
    await house.register()
    tries = [house.sign_in(password=f"guess number {number}") for number in range(30)]

    answers = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(isinstance(answer, service.WrongCredentials) for answer in answers) == attempts.SIGN_IN_HERE.attempts
    limited = [answer for answer in answers if isinstance(answer, attempts.TooManyAttempts)]
    assert len(limited) == 20
    assert all(0 < answer.retry_after_seconds <= attempts.SIGN_IN_HERE.seconds for answer in limited)
    with pytest.raises(attempts.TooManyAttempts):  # the right password does not help here
        await house.sign_in()
    await house.sign_in(address="198.51.100.7")


async def test_success_is_not_counted(house: House) -> None:
    await house.register()

    for _ in range(attempts.SIGN_IN_HERE.attempts + 2):
        await house.sign_in()


async def test_guessing_at_one_account_from_everywhere_ends(house: House) -> None:
    for number in range(attempts.SIGN_IN_ACCOUNT.attempts):
        await service.count_sign_in(house.redis, kind="player", who=EMAIL, address=f"198.51.100.{number}")

    with pytest.raises(attempts.TooManyAttempts):
        await service.count_sign_in(house.redis, kind="player", who=EMAIL, address="203.0.113.9")


async def test_without_redis_accounts_open_and_nobody_signs_in(house: House, lost_redis: Redis) -> None:
    registered = await house.register(redis=lost_redis)

    assert len(await wallets_of(house.database, registered.id)) == 3
    player = SignedIn(registered.id, registered.email, email_confirmed=False, expires_at=clock.now())
    house.redis = lost_redis
    with pytest.raises(sessions.SessionsUnavailable):
        await house.sign_in()
    with pytest.raises(sessions.SessionsUnavailable):
        await house.session_of("x" * 43)
    with pytest.raises(sessions.SessionsUnavailable):
        await service.sign_out(lost_redis, "x" * 43)
    with pytest.raises(sessions.SessionsUnavailable):
        await service.send_email_code(lost_redis, settings=house.settings, player=player)
    with pytest.raises(sessions.SessionsUnavailable):
        await house.confirm(player, "000000")


async def test_the_mailed_code_confirms_the_address_once(house: House) -> None:
    registered = await house.register()
    _, player = await house.sign_in()
    assert not player.email_confirmed
    (code,) = house.codes()
    assert code not in str(await house.redis.hgetall(otp_key(registered.id)))
    assert 0 < await house.redis.ttl(otp_key(registered.id)) <= OTP_SECONDS

    answers = await asyncio.gather(*(house.confirm(player, code) for _ in range(10)), return_exceptions=True)

    assert answers.count(None) == 1
    assert sum(isinstance(answer, service.WrongCode) for answer in answers) == 9
    token, confirmed = await house.sign_in()
    assert confirmed.email_confirmed
    found = await house.session_of(token)
    assert found is not None
    with pytest.raises(service.EmailAlreadyConfirmed):
        await house.confirm(found, code)
    with pytest.raises(service.EmailAlreadyConfirmed):
        await service.send_email_code(house.redis, settings=house.settings, player=found)


async def test_five_wrong_tries_end_a_code_however_many_come_at_once(house: House) -> None:
    await house.register()
    _, player = await house.sign_in()
    (code,) = house.codes()
    wrong = [f"{(int(code) + step) % 1_000_000:06d}" for step in range(1, 6)]

    await asyncio.gather(*(house.confirm(player, guess) for guess in wrong), return_exceptions=True)

    with pytest.raises(service.WrongCode) as refused:
        await house.confirm(player, code)
    assert refused.value.field == "code"


async def test_a_newer_code_replaces_the_older_one_and_has_five_tries_again(house: House) -> None:
    await house.register()
    _, player = await house.sign_in()

    await service.send_email_code(house.redis, settings=house.settings, player=player)

    older, newer = house.codes()
    if older != newer:  # once in a million
        with pytest.raises(service.WrongCode):
            await house.confirm(player, older)
    await house.confirm(player, newer)


async def test_a_code_proves_nothing_about_another_address_or_player(house: House) -> None:
    await house.register()
    _, player = await house.sign_in()
    (code,) = house.codes()
    moved = SignedIn(player.player_id, "new@example.com", email_confirmed=False, expires_at=player.expires_at)
    other = SignedIn(UUID(int=7), EMAIL, email_confirmed=False, expires_at=player.expires_at)

    for somebody in (moved, other):
        with pytest.raises(service.WrongCode):
            await house.confirm(somebody, code)


async def test_codes_cannot_be_asked_for_without_end(house: House) -> None:
    await house.register()
    _, player = await house.sign_in()

    for _ in range(attempts.EMAIL_CODE.attempts):
        await service.send_email_code(house.redis, settings=house.settings, player=player)

    with pytest.raises(attempts.TooManyAttempts):
        await service.send_email_code(house.redis, settings=house.settings, player=player)


async def test_mail_is_readable_by_its_owner_only(house: House) -> None:
    await house.register()

    (path,) = mail.outbox(house.settings.data_dir).iterdir()

    assert path.suffix == ".eml"
    assert path.stat().st_mode & 0o077 == 0

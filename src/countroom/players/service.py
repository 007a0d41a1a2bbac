"""What players do with their account: open it, sign in and out, confirm their address."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from countroom.clock import Clock, new_id
from countroom.clock import now as system_clock
from countroom.players import attempts, codes, mail, passwords, queries, rules, sessions
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.wallet.service import open_wallets

_log: Final = structlog.get_logger()


class EmailTaken(Refusal):
    """There is an account with this e-mail address already: sign in instead."""

    kind = "conflict"
    code = "email_taken"


class WrongCredentials(Refusal):
    """E-mail address or password are wrong."""

    kind = "unauthenticated"
    code = "wrong_credentials"


class AccountNotActive(Refusal):
    """This account is blocked or closed."""

    kind = "forbidden"
    code = "account_not_active"


class EmailAlreadyConfirmed(Refusal):
    """The e-mail address of this account is confirmed already."""

    kind = "conflict"
    code = "email_already_confirmed"


class WrongCode(Refusal):
    """This code is not the last one sent, or its time or tries are over: ask for a new one."""

    kind = "invalid"
    code = "wrong_code"


@dataclass(frozen=True, slots=True)
class Registered:
    """A new account."""

    id: UUID
    email: str
    country: str
    currency: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A player with a session that holds."""

    player_id: UUID
    email: str
    email_confirmed: bool
    expires_at: datetime


async def register(
    database: Database,
    redis: Redis,
    *,
    settings: Settings,
    email: str,
    password: str,
    country: str,
    birth_date: date,
    currency: str,
    address: str,
    clock: Clock = system_clock,
) -> Registered:
    """Open an account with its wallets, and put a confirmation code into the outbox.

    Works without Redis: there is then no code yet, and no limit to the attempts.

    Raises:
        TooManyAttempts: too many registrations from this address.
        EmailTaken: another account has the e-mail address.
        Refusal: each of those of `rules.check_registration`.
    """
    try:
        await attempts.count(redis, attempts.REGISTRATION, address)
    except (RedisError, OSError) as error:
        _log.warning("registration_not_limited", reason=str(error))
    registration = rules.check_registration(
        email=email,
        password=password,
        country=country,
        birth_date=birth_date,
        currency=currency,
        currencies=settings.currencies,
        today=clock().date(),
    )
    password_hash = await passwords.hash_password(password)
    user_id = new_id()
    async with database.transaction() as tx:
        added = await queries.insert_user(
            tx,
            user_id=user_id,
            email=registration.email,
            password_hash=password_hash,
            country=registration.country,
            birth_date=registration.birth_date,
        )
        if not added:
            raise EmailTaken(field="email")
        await open_wallets(tx, user_id, registration.currency)
    try:
        await _post_code(redis, settings=settings, user_id=user_id, email=registration.email, now=clock())
    except (RedisError, OSError) as error:
        # The account is open; a code can be asked for when Redis or the outbox are back.
        _log.warning("confirmation_code_not_posted", player_id=str(user_id), reason=str(error))
    return Registered(user_id, registration.email, registration.country, registration.currency)


async def sign_in(
    database: Database, redis: Redis, *, email: str, password: str, address: str, clock: Clock = system_clock
) -> tuple[str, SignedIn]:
    """Open a session with a new token, and return the token and who is signed in.

    Unknown address and wrong password get the same answer in the same time (ASVS 5.0, 6.3.8);
    only who knows the password learns that an account is blocked.

    Raises:
        WrongCredentials, AccountNotActive, TooManyAttempts.
        SessionsUnavailable: Redis is lost, so no session can be kept.
    """
    who = email.strip(" ").lower()
    await count_sign_in(redis, kind="player", who=who, address=address)
    player = await queries.player_by_email(database, who) if rules.may_be_an_address(who) else None
    password_fits = await passwords.verify_password(player.password_hash if player else None, password)
    if player is None or player.password_hash is None or not password_fits:
        raise WrongCredentials
    if player.status != "active":
        raise AccountNotActive
    token, session = await sessions.open_session(
        redis, kind="player", user_id=player.id, password_hash=player.password_hash, now=clock()
    )
    await forgive_sign_in(redis, kind="player", who=who, address=address)
    return token, _signed_in(player, session)


async def sign_out(redis: Redis, token: str) -> None:
    """End the session of this token at once; without one there is nothing to do.

    Raises:
        SessionsUnavailable: Redis is lost.
    """
    await sessions.close_session(redis, token)


async def session_of(database: Database, redis: Redis, token: str, *, clock: Clock = system_clock) -> SignedIn | None:
    """Return who is signed in with this token, or None.

    PostgreSQL is asked each time whether the account may still be used, so that blocking it or
    changing its password holds from the next request on.

    Raises:
        SessionsUnavailable: Redis is lost.
    """
    session = await sessions.find_session(redis, token, now=clock())
    if session is None or session.kind != "player":
        return None
    player = await queries.player_by_id(database, session.user_id)
    if player is None or player.status != "active" or player.password_hash is None:
        return None
    if sessions.credential_fingerprint(player.password_hash) != session.credential:
        return None
    return _signed_in(player, session)


async def send_email_code(redis: Redis, *, settings: Settings, player: SignedIn, clock: Clock = system_clock) -> None:
    """Put a new confirmation code into the outbox; any older one is dead from then on.

    Raises:
        EmailAlreadyConfirmed: there is nothing to confirm.
        TooManyAttempts: too many codes in a short time.
        SessionsUnavailable: Redis is lost, so no code can be kept.
    """
    if player.email_confirmed:
        raise EmailAlreadyConfirmed
    try:
        await attempts.count(redis, attempts.EMAIL_CODE, player.player_id)
        await _post_code(redis, settings=settings, user_id=player.player_id, email=player.email, now=clock())
    except RedisError as error:
        raise sessions.SessionsUnavailable from error


async def confirm_email(
    database: Database, redis: Redis, *, settings: Settings, player: SignedIn, code: str, clock: Clock = system_clock
) -> None:
    """Note that mail reaches the player, who has shown the code that was sent there.

    Raises:
        EmailAlreadyConfirmed: there is nothing to confirm.
        WrongCode: not the last code, or used, or too old, or its five tries are gone.
        SessionsUnavailable: Redis is lost.
    """
    assert settings.secret_key is not None
    if player.email_confirmed:
        raise EmailAlreadyConfirmed
    try:
        outcome = await codes.spend_code(
            redis, secret_key=settings.secret_key, user_id=player.player_id, email=player.email, code=code
        )
    except RedisError as error:
        raise sessions.SessionsUnavailable from error
    if outcome != "right":
        raise WrongCode(field="code")
    async with database.transaction() as tx:
        if not await queries.confirm_email(tx, user_id=player.player_id, email=player.email, now=clock()):
            raise EmailAlreadyConfirmed


async def count_sign_in(redis: Redis, *, kind: sessions.Kind, who: str, address: str) -> None:
    """Count an attempt to sign in before it is made.

    Raises:
        TooManyAttempts: for this account from this address, from this address, or for this account.
        SessionsUnavailable: Redis is lost.
    """
    try:
        await attempts.count(redis, attempts.SIGN_IN_HERE, kind, who, address)
        await attempts.count(redis, attempts.SIGN_IN_ADDRESS, kind, address)
        await attempts.count(redis, attempts.SIGN_IN_ACCOUNT, kind, who)
    except (RedisError, OSError) as error:
        raise sessions.SessionsUnavailable from error


async def forgive_sign_in(redis: Redis, *, kind: sessions.Kind, who: str, address: str) -> None:
    """Take back what a sign-in that succeeded had counted; earlier failures stay counted.

    Raises:
        SessionsUnavailable: Redis is lost.
    """
    try:
        await attempts.forgive(redis, attempts.SIGN_IN_HERE, kind, who, address)
        await attempts.forgive(redis, attempts.SIGN_IN_ADDRESS, kind, address)
        await attempts.forgive(redis, attempts.SIGN_IN_ACCOUNT, kind, who)
    except (RedisError, OSError) as error:
        raise sessions.SessionsUnavailable from error


def _signed_in(player: queries.Player, session: sessions.Session) -> SignedIn:
    return SignedIn(player.id, player.email, player.email_confirmed_at is not None, session.expires_at)


async def _post_code(redis: Redis, *, settings: Settings, user_id: UUID, email: str, now: datetime) -> None:
    assert settings.secret_key is not None
    code = await codes.new_code(redis, secret_key=settings.secret_key, user_id=user_id, email=email)
    await mail.post_confirmation_code(settings.data_dir, email=email, code=code, now=now)

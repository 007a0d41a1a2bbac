"""Game providers may be kept to the networks they call from, also behind a proxy; the settings say which."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from contract_table import open_providers
from countroom.settings import SettingsError, load
from countroom.web.addresses import CallbackNetworks
from databases import Databases, RunningStores
from provider_callers import CALLERS, Caller, Seat
from serving import Served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

INSIDE, OUTSIDE = "203.0.113.7", "198.51.100.7"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def guarded(stores: RunningStores, databases: Databases) -> AsyncIterator[Served]:
    """Every provider may call from one network, and whoever sits on this machine is a proxy."""
    read = load(
        {
            "COUNTROOM_TRUSTED_PROXIES": "127.0.0.0/8",
            "COUNTROOM_CALLBACK_NETWORKS": " ".join(f"a-{dialect}=203.0.113.0/24,2001:db8::/32" for dialect in CALLERS),
        }
    )
    with databases.one() as database_url:
        settings = msgspec.structs.replace(
            stores.settings_for(database_url, stores.redis_url, stores.clickhouse_url),
            trusted_proxies=read.trusted_proxies,
            callback_networks=read.callback_networks,
        )
        async with serving(settings, open_providers) as running:
            yield running


def bet(caller: Caller, seat: Seat, key: str) -> tuple[str, Any]:
    return caller.request("bet", seat, key=caller.id(key), amount="10.00", round_id=caller.id("r1"))


@pytest.mark.parametrize("dialect", CALLERS)
async def test_a_call_from_elsewhere_is_no_providers_and_moves_nothing(guarded: Served, dialect: str) -> None:
    caller = CALLERS[dialect](guarded)
    seat = await caller.sit(await guarded.casino.player(main="100.00"))

    guarded.http.headers["X-Forwarded-For"] = f"{INSIDE}, {OUTSIDE}"  # what a caller claims, and what the proxy saw
    refused = await Caller.post(caller, *bet(caller, seat, "b1"))
    assert refused.word not in {caller.OK, caller.word("retryable")}
    assert (await seat.player.balances()).main == "100.00"

    guarded.http.headers["X-Forwarded-For"] = f"{OUTSIDE}, {INSIDE}"
    assert (await caller.bet(seat, "b1", "10.00")).word == caller.OK
    del guarded.http.headers["X-Forwarded-For"]
    assert (await Caller.post(caller, *bet(caller, seat, "b2"))).word == refused.word  # the proxy itself is no provider
    assert (await seat.player.balances()).main == "90.00"


async def test_networks_hold_addresses_of_either_kind_and_nothing_that_is_none() -> None:
    networks = CallbackNetworks({"p": ("203.0.113.0/24", "2001:db8::/32")})

    admitted = [INSIDE, "2001:db8::1", "::ffff:203.0.113.7"]
    refused = [OUTSIDE, "2001:db9::1", "::1", "unix", "", "203.0.113.7:80"]
    assert [networks.admit("p", (one, 1)) for one in admitted] == [True] * 3
    assert [networks.admit("p", (one, 1)) for one in refused] == [False] * 6
    assert not networks.admit("p", None)
    assert networks.admit("another", None)
    assert networks.admit("p", networks.some_address("p"))


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("COUNTROOM_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("COUNTROOM_TRUSTED_PROXIES", "proxy.example"),
        ("COUNTROOM_CALLBACK_NETWORKS", "sandbox"),
        ("COUNTROOM_CALLBACK_NETWORKS", "sandbox="),
        ("COUNTROOM_CALLBACK_NETWORKS", "=10.0.0.0/8"),
        ("COUNTROOM_CALLBACK_NETWORKS", "sandbox=10.0.0.0/8,nowhere"),
    ],
)
async def test_what_is_no_network_is_said_at_the_start(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load({variable: text})

"""From where game providers may call: networks by the provider's code, where an operator has named some."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

from countroom.settings import Settings

ADDRESS_REFUSED: Final = "address_refused"
"""The code under which such calls are counted."""


def server_options(settings: Settings) -> dict[str, Any]:
    """Return what the server is told about proxies: whoever is not one of them cannot say where a call came from."""
    return {"proxy_headers": bool(settings.trusted_proxies), "forwarded_allow_ips": list(settings.trusted_proxies)}


class CallbackNetworks:
    """Who may call from where. It comes before the signature, and never in its place."""

    def __init__(self, by_code: Mapping[str, Sequence[str]]) -> None:
        self._by_code = {code: [ipaddress.ip_network(one) for one in networks] for code, networks in by_code.items()}

    def admit(self, code: str, client: Any) -> bool:
        """Whether a provider may call from the address of an ASGI scope's ``client``."""
        networks = self._by_code.get(code)
        if networks is None:
            return True
        try:
            address = ipaddress.ip_address(client[0])
        except (TypeError, ValueError):
            return False  # not known: a socket file, or what a proxy passed on is no address
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in networks)

    def some_address(self, code: str) -> tuple[str, int]:
        """Return a ``client`` from which a provider may call: for the calls that we make in its place."""
        networks = self._by_code.get(code)
        return (str(networks[0][0]) if networks else "127.0.0.1", 0)

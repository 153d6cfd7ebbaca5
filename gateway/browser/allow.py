"""Which addresses a URL of the API may lead to.

Whoever may set `chromeRemoteURL` makes the gateway connect somewhere. The check is on the resolved address, and the
connection goes to that very address, so that a name cannot point elsewhere a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from gateway.browser.errors import AddressNotAllowed
from gateway.domain.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PRIVATE: Final[tuple[Network, ...]] = (
    IPv4Network("127.0.0.0/8"),
    IPv6Network("::1/128"),
    IPv4Network("10.0.0.0/8"),  # RFC 1918
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"),  # RFC 6598; Tailscale's too
    IPv6Network("fc00::/7"),  # RFC 4193
)
"""Loopback and private networks: what is allowed without a setting."""

NEVER: Final[tuple[Network, ...]] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),  # link-local: where clouds serve credentials
    IPv4Network("224.0.0.0/4"),
    IPv4Network("255.255.255.255/32"),
    IPv6Network("::/128"),
    IPv6Network("fe80::/10"),
    IPv6Network("ff00::/8"),
    IPv4Network("100.100.100.200/32"),  # metadata service inside the CGNAT range
    IPv4Network("168.63.129.16/32"),  # a cloud's wire server
    IPv4Network("192.0.0.192/32"),
    IPv6Network("fd00:ec2::/32"),  # metadata services inside the ULA range
    IPv6Network("fd20:ce::254/128"),
)
"""Refused whatever the settings say: link-local, multicast, unspecified, metadata services."""

NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052


@dataclass(frozen=True, slots=True)
class AllowList:
    """What the operator allows beside loopback and private networks.

    Attributes:
        networks: further networks.
        hosts: names whose addresses are allowed, whatever they resolve to; lower case.
    """

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, items: Iterable[str]) -> AllowList:
        """Return the list of settings such as ``203.0.113.0/24``, ``2001:db8::7`` and ``chrome.example.com``.

        Raises:
            ConfigError: an item is neither a network, an address nor a name.
        """
        networks: list[Network] = []
        hosts: set[str] = set()
        for item in items:
            text = item.strip()
            try:
                networks.append(ip_network(text, strict=False))
            except ValueError:
                if not text or any(character in text for character in "/:@ *?#[]"):
                    raise ConfigError(f"{item!r} is neither a host name nor a network such as 10.0.0.0/8") from None
                hosts.add(text.lower().rstrip("."))
        return cls(tuple(networks), frozenset(hosts))


def _forms(address: Address) -> list[Address]:
    """The address and every IPv4 address that an IPv6 one stands for: a mapped 169.254.x.x is one all the same."""
    forms: list[Address] = [address]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return [address.ipv4_mapped]
        if address.sixtofour is not None:
            forms.append(address.sixtofour)
        if address in NAT64:
            forms.append(IPv4Address(address.packed[-4:]))
    return forms


def check_address(address: Address, allow: AllowList, *, host: str = "", field: str | None = None) -> None:
    """Check that the gateway may connect to *address*.

    Args:
        address: the resolved address.
        allow: what the operator allows beside private networks.
        host: the name it was resolved from, where there was one.
        field: the API's field to blame.

    Raises:
        AddressNotAllowed: it may not.
    """
    forms = _forms(address)
    shown = f"{host} ({address})" if host and host != str(address) else str(address)
    if any(form in network for form in forms for network in NEVER if form.version == network.version):
        raise AddressNotAllowed(
            f"{shown} is a link-local, multicast or metadata address, which is never allowed; use another one", field
        )
    if host.lower().rstrip(".") in allow.hosts:
        return
    effective = forms[0]
    if any(effective in network for network in (*PRIVATE, *allow.networks) if effective.version == network.version):
        return
    raise AddressNotAllowed(
        f"{shown} is neither loopback nor a private network; the operator can allow it in PONTE_ALLOW_HOSTS", field
    )


def check_public_address(address: Address, allow: AllowList, *, host: str = "", field: str | None = None) -> None:
    """Check that something of a user's may be sent to *address*: the other way round, private networks are ours.

    Args:
        address: the resolved address.
        allow: what the operator allows beside public addresses.
        host: the name it was resolved from, where there was one.
        field: the API's field to blame.

    Raises:
        AddressNotAllowed: it may not.
    """
    forms = _forms(address)
    if not any(form in network for form in forms for network in NEVER if form.version == network.version):
        if host.lower().rstrip(".") in allow.hosts or all(form.is_global for form in forms):
            return
        if any(forms[0] in network for network in allow.networks if forms[0].version == network.version):
            return
    shown = f"{host} ({address})" if host and host != str(address) else str(address)
    raise AddressNotAllowed(
        f"{shown} is no public address; the operator can allow private ones in PONTE_WEBHOOK_ALLOW_HOSTS", field
    )


def literal(host: str) -> Address | None:
    """Return the address that *host* spells, or None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None

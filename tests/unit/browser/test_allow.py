from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.browser.allow import AllowList, check_address
from gateway.browser.errors import AddressNotAllowed
from gateway.domain.errors import ConfigError

pytestmark = pytest.mark.unit

EVERYTHING = AllowList.parse(["0.0.0.0/0", "::/0", "metadata.example"])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.9.10", "::1", "10.1.0.7", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
     "100.127.255.254", "fd7a:115c:a1e0::1", "::ffff:10.0.0.1"],
)  # fmt: skip
def test_loopback_and_private_networks_are_allowed(address: str) -> None:
    check_address(ip_address(address), AllowList())


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.169.0.1", "2001:db8::1", "::ffff:8.8.8.8", "64:ff9b::a00:1",
     "2002:a00:1::1"],
)  # fmt: skip
def test_others_are_refused_until_the_operator_allows_them(address: str) -> None:
    with pytest.raises(AddressNotAllowed, match="PONTE_ALLOW_HOSTS") as refused:
        check_address(ip_address(address), AllowList(), field="chromeRemoteURL")
    assert refused.value.field == "chromeRemoteURL"
    assert refused.value.http_status == 400
    check_address(ip_address(address), EVERYTHING)
    check_address(ip_address(address), AllowList.parse(["Chrome.Example.COM."]), host="chrome.example.com")


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1", "239.255.255.250", "255.255.255.255", "::",
     "fe80::1", "ff02::1", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "::ffff:169.254.169.254",
     "::ffff:0.0.0.0", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"],
)  # fmt: skip
def test_link_local_multicast_and_metadata_are_never_allowed(address: str) -> None:
    for host in ("", "metadata.example"):
        with pytest.raises(AddressNotAllowed, match="never allowed"):
            check_address(ip_address(address), EVERYTHING, host=host)


def test_a_network_a_single_address_and_a_name_can_be_allowed() -> None:
    allow = AllowList.parse(["203.0.113.0/24", " 2001:db8::7 ", "chrome.example"])
    check_address(ip_address("203.0.113.200"), allow)
    check_address(ip_address("2001:db8::7"), allow)
    for address in ("203.0.114.1", "2001:db8::8"):
        with pytest.raises(AddressNotAllowed):
            check_address(ip_address(address), allow, host="other.example")


@pytest.mark.parametrize("item", ["", "http://x", "10.0.0.0/33", "a b", "*.example.com", "x:80"])
def test_what_is_no_network_and_no_name_is_a_config_error(item: str) -> None:
    with pytest.raises(ConfigError):
        AllowList.parse([item])

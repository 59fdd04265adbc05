from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longcall.core.addresses import METADATA, NEVER, PRIVATE, refusal
from tests.hostile import GOOD, V4, V6
from tests.hostile import NEVER as NEVER_ADDRESSES

NETWORKS = [each.network for each in METADATA + PRIVATE + NEVER]
OPENS = [each.network for each in PRIVATE]
NAT64 = IPv6Network("64:ff9b::/96")
v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6) | st.ip_addresses(network=IPv6Network("2000::/3")) | st.ip_addresses(network=IPv6Network("2000::/15"))


@pytest.mark.parametrize("address", [*V4, *V6])
def test_special_addresses_are_refused_with_their_purpose(address: str) -> None:
    """A sentence that names the address and says what it is."""
    said = refusal(address)
    assert said is not None
    assert said.startswith(f"{address} is ")
    assert "called" in said


@pytest.mark.parametrize(
    "address", [*GOOD, "::ffff:8.8.8.8", "64:ff9b::808:808", "192.0.1.1", "198.20.0.1", "2001:200::1", "2620:4f:8000::1"]
)
def test_public_addresses_are_called(address: str) -> None:
    """What is given out for everybody to reach, through IPv4 in IPv6 too."""
    assert refusal(address) is None
    assert refusal(address, allow_private=True) is None


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_every_network_is_shut_from_its_first_to_its_last_address(network: IPv4Network | IPv6Network) -> None:
    """The borders of each row of the tables."""
    assert refusal(str(network[0]))
    assert refusal(str(network[-1]))


@pytest.mark.parametrize(
    ("last_before", "first_after"),
    [
        ("9.255.255.255", "11.0.0.0"),
        ("126.255.255.255", "128.0.0.0"),
        ("172.15.255.255", "172.32.0.0"),
        ("192.167.255.255", "192.169.0.0"),
        ("169.253.255.255", "169.255.0.0"),
        ("100.63.255.255", "100.128.0.0"),
        ("191.255.255.255", "192.0.1.0"),
        ("192.88.98.255", "192.88.100.0"),
        ("198.17.255.255", "198.20.0.0"),
        ("223.255.255.255", "1.0.0.0"),
        ("168.63.129.15", "168.63.129.17"),
        ("2001:200::", "2001:db7:ffff::"),
        ("2001:db9::", "2001:ffff::"),
        ("2003::", "3ffe:ffff::"),
    ],
)
def test_the_neighbours_of_a_network_are_open(last_before: str, first_after: str) -> None:
    """No row is wider than it is."""
    assert (refusal(last_before), refusal(first_after)) == (None, None)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.255.255", "10.1.2.3", "172.31.0.1", "192.168.1.1", "::1", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1"],
)
def test_private_addresses_can_be_opened(address: str) -> None:
    """ALLOW_PRIVATE_TARGETS opens loopback, RFC 1918 and unique local addresses."""
    assert "LONGCALL_ALLOW_PRIVATE_TARGETS" in (refusal(address) or "")
    assert refusal(address, allow_private=True) is None


@pytest.mark.parametrize("address", NEVER_ADDRESSES)
def test_metadata_and_link_local_are_never_opened(address: str) -> None:
    """Not those that lie in a unique local network, nor the one in public space."""
    assert refusal(address, allow_private=True)
    if ":" not in address:
        assert refusal(f"::ffff:{address}", allow_private=True)
        assert refusal(f"64:ff9b::{address}", allow_private=True)


@given(address=v4 | v6)
def test_only_private_networks_are_opened(address: IPv4Address | IPv6Address) -> None:
    """Whatever the setting opens lies in one of the six networks, and nothing is shut by it."""
    shut, left = refusal(str(address)), refusal(str(address), allow_private=True)
    if shut and not left:
        inner = getattr(address, "ipv4_mapped", None) or address
        assert any(inner in network for network in OPENS)
    assert shut or not left


@given(address=v4 | v6)
def test_what_python_calls_not_global_is_refused(address: IPv4Address | IPv6Address) -> None:
    """A second opinion: in no Python is our table the more lenient one."""
    inside = isinstance(address, IPv6Address) and (address.ipv4_mapped is not None or address in NAT64)
    if not inside and (not address.is_global or address.is_multicast or address.is_reserved):
        assert refusal(str(address))


@given(inner=v4)
def test_an_ipv4_address_inside_is_judged_as_itself(inner: IPv4Address) -> None:
    """v4-mapped and through NAT64 by what is inside; every other way to hide one is refused whole."""
    number = int(inner)
    shut = refusal(str(inner)) is not None
    assert (refusal(str(IPv6Address((0xFFFF << 32) | number))) is not None) == shut
    assert (refusal(str(IPv6Address((0x64FF9B << 96) | number))) is not None) == shut
    hidden = {
        "compatible": number,
        "translated": (0xFFFF << 48) | number,
        "local NAT64": (0x64FF9B0001 << 80) | number,
        "6to4": (0x2002 << 112) | (number << 80),
        "Teredo": (0x20010000 << 96) | (number ^ 0xFFFFFFFF),
    }
    assert [how for how, address in hidden.items() if refusal(str(IPv6Address(address)), allow_private=True) is None] == (
        ["compatible"] * (number == 1)
    )


@given(inner=st.sampled_from(OPENS[:4]).flatmap(lambda network: st.ip_addresses(network=network)))
def test_a_translator_never_leads_to_private_addresses(inner: IPv4Address) -> None:
    """The well-known prefix must not stand for them (RFC 6052, 3.1), so the setting does not open it."""
    assert refusal(str(IPv6Address((0x64FF9B << 96) | int(inner))), allow_private=True)


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "127.1", "0177.0.0.1", "2130706433", "[::1]", "fe80::1%eth0", "::1%lo", "2606:4700::1%1", "8.8.8.8 ", "1.2.3.4/32"],
)
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    """Nothing is guessed, and an address bound to a link is none to call."""
    assert refusal(text, allow_private=True)

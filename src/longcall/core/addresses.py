"""Which addresses are never called from here, whoever asks: the tables of special networks, and what is hidden in an IPv6 address.

The tables are written out because what `ipaddress` calls private changes from one Python to the next. Their sources are the IANA
special-purpose address registries (https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry) and what
stands beside each network. Of IPv6 only 2000::/3, the one part given out for unicast (RFC 4291, 2.4), is called at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Special:
    """A network with a purpose of its own. `opens` says that ALLOW_PRIVATE_TARGETS lets it be called."""

    network: IPv4Network | IPv6Network
    purpose: str
    opens: bool = False


def _table(rows: Iterable[tuple[str, str]], *, opens: bool = False) -> tuple[Special, ...]:
    return tuple(Special(ip_network(network), purpose, opens) for network, purpose in rows)


# What hands out a machine's credentials, outside of link-local: looked at first, because some of these lie in networks that can be opened,
# and one in public space. Each is its cloud's own documentation's, or where cloud-init looks for it.
METADATA = _table(
    (
        ("100.100.100.200/32", "Alibaba Cloud's metadata server"),
        ("168.63.129.16/32", "Azure's platform server"),
        ("192.0.0.192/32", "Oracle Cloud's metadata server"),
        ("fd00:ec2::/32", "one of AWS's instance services, its metadata server (fd00:ec2::254) among them"),
        ("fd20:ce::254/128", "Google Cloud's metadata server"),
        ("fd00:c1::a9fe:a9fe/128", "Oracle Cloud's metadata server"),
        ("fd00:42::42/128", "Scaleway's metadata server"),
        ("fd00:a9fe:a9fe::1/128", "Akamai's metadata server"),
        ("fd00:100::100:200/128", "Alibaba Cloud's metadata server"),
    )
)
PRIVATE = _table(
    (
        ("127.0.0.0/8", "loopback (RFC 1122)"),
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("::1/128", "loopback (RFC 4291)"),
        ("fc00::/7", "private (unique local, RFC 4193)"),
    ),
    opens=True,
)
NEVER = _table(
    (
        ("169.254.0.0/16", "link-local, where clouds keep their metadata servers (RFC 3927)"),
        ("0.0.0.0/8", "this host on this network (RFC 1122)"),
        ("100.64.0.0/10", "shared by a provider's customers (RFC 6598)"),
        ("192.0.0.0/24", "for protocols (RFC 6890)"),
        ("192.0.2.0/24", "for documentation (RFC 5737)"),
        ("198.51.100.0/24", "for documentation (RFC 5737)"),
        ("203.0.113.0/24", "for documentation (RFC 5737)"),
        ("192.88.99.0/24", "a 6to4 relay (RFC 7526)"),
        ("198.18.0.0/15", "for benchmarks (RFC 2544)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("255.255.255.255/32", "broadcast (RFC 919)"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),
        ("fe80::/10", "link-local, where clouds keep their metadata servers (RFC 4291)"),
        ("fec0::/10", "site-local (RFC 3879)"),
        ("ff00::/8", "multicast (RFC 4291)"),
        ("::/96", "unspecified, or an IPv4 address inside IPv6 (RFC 4291)"),
        ("64:ff9b:1::/48", "a translator to IPv4 (RFC 8215)"),
        ("2001::/23", "for protocols, Teredo among them (RFC 2928, RFC 4380)"),
        ("2001:db8::/32", "for documentation (RFC 3849)"),
        ("2002::/16", "a tunnel to IPv4 (6to4, RFC 3056)"),
        ("3fff::/20", "for documentation (RFC 9637)"),
    )
)
_SPECIAL = METADATA + PRIVATE + NEVER
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def refusal(text: str, *, allow_private: bool = False) -> str | None:
    """Say why this address is not called; None when it can be. `allow_private` opens loopback, RFC 1918 and unique local, nothing else."""
    try:
        address = ip_address(text)
    except ValueError:
        return f"{text} is no address"
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return f"{text} is bound to one link, and such an address is never called"
    why = _why(address, allow_private=allow_private)
    return f"{text} is {why}" if why else None


def _why(address: Address, *, allow_private: bool) -> str | None:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return _why(address.ipv4_mapped, allow_private=allow_private)  # the machine itself connects to the IPv4 address (RFC 4291, 2.5.5.2)
    if isinstance(address, IPv6Address) and address in _NAT64:
        inside = IPv4Address(address.packed[-4:])  # of IPv6-only networks; it must not stand for what is not public (RFC 6052, 3.1)
        return _why(inside, allow_private=False) and f"{inside} through a translator, and that is never called"
    for special in _SPECIAL:
        if address in special.network:
            return _said(special, allow_private=allow_private)
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return "outside of 2000::/3, the part of IPv6 that is given out (RFC 4291), and is never called"
    return None


def _said(special: Special, *, allow_private: bool) -> str | None:
    if not special.opens:
        return f"{special.purpose}, which is never called"
    return None if allow_private else f"{special.purpose}, which is called only with LONGCALL_ALLOW_PRIVATE_TARGETS"

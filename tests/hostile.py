"""URLs by which people have tried to reach what is not theirs, from tables and by rule."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

# Of every special network one address or more: first, last, and those where something listens.
V4 = (
    "169.254.169.254",
    "169.254.169.253",
    "169.254.170.2",
    "169.254.42.42",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "0.0.0.0",  # noqa: S104 — an address to be refused
    "0.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
)
V6 = (
    "::",
    "::1",
    "::2",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fd00::1",
    "fdff:ffff::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    "fd00:100::100:200",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "5f00::1",
    "4000::1",
    "e000::1",
    "64:ff9b:1::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2002::1",
    "3fff::1",
)
NEVER = (*V4[:8], *V6[9:16], "fe80::1", "febf::1")  # metadata and link-local: whatever is set
GOOD = ("93.184.216.34", "8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2001:4860:4860::8888")
METADATA_NAMES = (
    "metadata.google.internal",
    "metadata.google.internal.",
    "METADATA.Google.Internal",
    "x.metadata.google.internal",
    "metadata",
    "Metadata.",
    "metadata.goog",
    "metadata.goog.",
    "instance-data",
    "instance-data.ec2.internal",
    "INSTANCE-DATA.EC2.INTERNAL.",
)
LOOPBACK_NAMES = ("localhost", "LOCALHOST", "localhost.", "db.localhost")


def _octets(address: str) -> list[int]:
    return list(IPv4Address(address).packed)


# Each way in which some program, somewhere, reads an IPv4 address.
SPELT: dict[str, Callable[[str], str]] = {
    "plain": str,
    "last dot": lambda a: f"{a}.",
    "decimal": lambda a: str(int(IPv4Address(a))),
    "octal": lambda a: f"0{int(IPv4Address(a)):o}",
    "hex": lambda a: hex(int(IPv4Address(a))),
    "HEX": lambda a: f"0X{int(IPv4Address(a)):X}",
    "dotted hex": lambda a: ".".join(hex(each) for each in _octets(a)),
    "dotted octal": lambda a: ".".join(f"0{each:o}" for each in _octets(a)),
    "padded": lambda a: ".".join(f"{each:03d}" for each in _octets(a)),
    "two parts": lambda a: f"{_octets(a)[0]}.{int(IPv4Address(a)) & 0xFFFFFF}",
    "three parts": lambda a: f"{_octets(a)[0]}.{_octets(a)[1]}.{int(IPv4Address(a)) & 0xFFFF}",
    "mixed": lambda a: "0x{:x}.0{:o}.{}.0x{:x}".format(*_octets(a)),
    "over": lambda a: ".".join(str(each + 256) for each in _octets(a)),
    "percent": lambda a: a.replace(".", "%2e"),
    "percent digits": lambda a: "".join(f"%{ord(each):02x}" for each in a),
    "full width": lambda a: a.translate({ord(str(n)): ord("０") + n for n in range(10)}),  # noqa: RUF001 — that is the trick
    "circled": lambda a: a.translate({ord(str(n)): "⓪①②③④⑤⑥⑦⑧⑨"[n] for n in range(10)}),
    "other dots": lambda a: a.replace(".", "。"),
    "brackets": lambda a: f"[{a}]",
    "mapped": lambda a: f"[::ffff:{a}]",
    "mapped hex": lambda a: f"[::ffff:{_hex(a)}]",
    "mapped long": lambda a: f"[0:0:0:0:0:FFFF:{_hex(a).upper()}]",
    "compatible": lambda a: f"[::{a}]",
    "translated": lambda a: f"[::ffff:0:{_hex(a)}]",
    "NAT64": lambda a: f"[64:ff9b::{_hex(a)}]",
    "local NAT64": lambda a: f"[64:ff9b:1::{_hex(a)}]",
    "6to4": lambda a: f"[2002:{_hex(a)}::1]",
    "Teredo": lambda a: f"[2001:0:5ef5:79fb:0:0:{_hex(str(IPv4Address(int(IPv4Address(a)) ^ 0xFFFFFFFF)))}]",
    "zone": lambda a: f"[::ffff:{_hex(a)}%25lo]",
}


def _hex(address: str) -> str:
    high, low = divmod(int(IPv4Address(address)), 65536)
    return f"{high:x}:{low:x}"


SPELT_V6: dict[str, Callable[[str], str]] = {
    "plain": lambda a: f"[{a}]",
    "long": lambda a: f"[{IPv6Address(a).exploded.upper()}]",
    "zone": lambda a: f"[{a}%25lo]",
    "bare zone": lambda a: f"[{a}%lo]",
    "without brackets": str,
}

# What parsers read each in their own way, and what is no call over HTTP at all.
TRICKS = (
    "http://good.example@169.254.169.254/",
    "http://good.example:80@127.0.0.1/",
    "http://@127.0.0.1/",
    "http://:@127.0.0.1/",
    "http://127.0.0.1@good.example/",
    "http://good.example\\@127.0.0.1/",
    "http://127.0.0.1\\@good.example/",
    "http://127.0.0.1\\.good.example/",
    "http:\\\\127.0.0.1/",
    "http:/\\127.0.0.1/",
    "http://good.example\t@127.0.0.1/",
    "http://127.0.\t0.1/",
    "http://127.0.0.1\n/",
    "http://127.0.0.1\r\nHost: good.example/",
    "http://127.0.0.1\x00.good.example/",
    "http://127.0.0.1%00.good.example/",
    "http://127.0.0.1%0d%0a.good.example/",
    "http://127.0.0.1%2f@good.example/",
    "http://127.0.0.1%23.good.example/",
    "http://127.0.0.1／good.example/",  # noqa: RUF001 — that is the trick
    "http://good.example＠127.0.0.1/",  # noqa: RUF001 — that is the trick
    "http://127.0.0.1 /",
    " http://127.0.0.1/",
    "\x01http://127.0.0.1/",
    "http://127.0.0.1 good.example/",
    "http://[::1]good.example/",
    "http://good.example[::1]/",
    "http://[::1]]/",
    "http://[[::1]]/",
    "http://[::1/",
    "http://::1]/",
    "http://[:::]/",
    "http://[]/",
    "http://[127.0.0.1]/",
    "http://[v1.127.0.0.1]/",
    "http://[::1]:80:80/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1:/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:00000/",
    "http://127.0.0.1:65616/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:+80/",
    "http://127.0.0.1:８０/",  # noqa: RUF001 — that is the trick
    "http://127.0.0.1:0x50/",
    "http://127.0.0.1:eighty/",
    "http://0/",
    "http://00/",
    "http://0x/",
    "http://127.1/",
    "http://127.000.000.001/",
    "http://1.2.3.4.5/",
    "http://256.256.256.256/",
    "http://good.example.0x7f000001/",
    "http://.127.0.0.1/",
    "http://127.0.0.1../",
    "http://..127.0.0.1/",
    "http://127..0.1/",
    "http://-127.0.0.1/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://ⓜetadata.google.internal/",
    "http://metadata。google。internal/",
    "http://metadata.google.internal%2e/",
    "http://metadata.google.internal../",
    "http://metadata%2egoogle%2einternal/",
    "http://meta\u00addata.google.internal/",
    "http://metadata\u200b.google.internal/",
    "http://METADATA.GOOGLE.INTERNAL:80/computeMetadata/v1/",
    "http://good.example@metadata.google.internal/",
    "http:///127.0.0.1/",
    "http:////127.0.0.1/",
    "http:127.0.0.1",
    "http:/127.0.0.1/",
    "//127.0.0.1/",
    "127.0.0.1",
    "127.0.0.1:80/",
    "/latest/meta-data/",
    "http://",
    "http://?@127.0.0.1/",
    "http://#@127.0.0.1/",
    "http://:80/",
    "",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://localhost/",
    "HTTP://127.0.0.1/",
    "HtTpS://169.254.169.254/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:25/_HELO",
    "dict://127.0.0.1:11211/",
    "ldap://127.0.0.1/",
    "ws://127.0.0.1/",
    "wss://127.0.0.1/",
    "tcp://127.0.0.1/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "npipe:////./pipe/docker_engine",
    "jar:http://127.0.0.1!/",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "url:http://127.0.0.1/",
    "http://localhost:80/",
    "http://http://127.0.0.1/",
    "http://127.0.0.1;good.example/",
    "http://127.0.0.1,good.example/",
    "http://{127.0.0.1}/",
    "http://127.0.0.1*.good.example/",
    "http://*.127.0.0.1/",
    "http://*.good.example/",
    "http://!127.0.0.1/",
)


def literals() -> Iterator[str]:
    """Every address of the tables, in every spelling."""
    for address in V4:
        for spell in SPELT.values():
            yield f"http://{spell(address)}/latest/meta-data/"
    for address in V6:
        for spell in SPELT_V6.values():
            yield f"http://{spell(address)}/latest/meta-data/"


def names() -> Iterator[str]:
    """Names that are known to lead where nobody may."""
    for scheme in ("http", "https"):
        for name in (*METADATA_NAMES, *LOOPBACK_NAMES):
            yield f"{scheme}://{name}/computeMetadata/v1/"


def answers() -> dict[str, list[str]]:
    """Names of no bad repute, and what their DNS says: each leads to an address of the tables, alone or beside a good one."""
    found: dict[str, list[str]] = {}
    for number, address in enumerate((*V4, *V6)):
        found[f"alone-{number}.example"] = [address]
        found[f"first-{number}.example"] = [address, GOOD[0]]
        found[f"last-{number}.example"] = [*GOOD, address]
    for number, address in enumerate(V4):
        found[f"mapped-{number}.example"] = [f"::ffff:{address}"]
        found[f"translated-{number}.example"] = [f"64:ff9b::{_hex(address)}"]
    return found | {"scoped.example": ["fe80::1%1"], "nonsense.example": ["not an address"]}


HOSTILE = list(dict.fromkeys([*literals(), *names(), *TRICKS, *(f"http://{name}/" for name in answers())]))

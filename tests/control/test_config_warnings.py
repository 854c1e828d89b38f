"""What is legal but surely wrong is said, once, at its key."""

import pytest

from tests.control.test_config import CPE, HEADEND, changed, read, with_key

SECOND = """
[tunnels.dc-b]
prefix = "10.77.0.128/25"
ipsec = { local_address = "198.51.100.1", remote_address = "203.0.113.10", psk = { env = "PSK" } }
gre = { local_address = "192.0.2.1", remote_address = "192.0.2.20" }
interface = { address = "100.64.1.6/30" }
bgp = { local_as = 64512, remote_as = 64601 }
"""
BOTH = CPE + SECOND


def warnings(text: str) -> dict[str, str]:
    return {problem.key: str(problem) for problem in read(text).warnings}


def test_two_good_tunnels_have_none() -> None:
    assert warnings(BOTH) == {}


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        (
            'local_address = "192.0.2.1"',
            'local_address = "10.77.0.9"',
            "gre.local_address",
            "inside the region",
        ),
        ('"192.0.2.10"', '"10.77.0.9"', "gre.remote_address", "inside the region 10.77.0.0/24"),
        ('"198.51.100.10"', '"10.77.0.200"', "ipsec.remote_address", "reached through the tunnel itself"),
        (
            '"192.0.2.10"',
            '"100.64.1.1"',
            "gre.remote_address",
            "inside the tunnel's own network 100.64.1.0/30",
        ),
        ('"100.64.1.2/30"', '"10.77.0.2/30"', "interface.address", "inside the region"),
        (
            "local_as = 64512",
            "local_as = 65535001",
            "bgp.local_as",
            "65535001: the service assigns private numbers",
        ),
        ("remote_as = 64600", "remote_as = 64511", "bgp.remote_as", "64511"),
        (
            'prefix = "10.77.0.0/25"',
            'prefix = "10.78.0.0/25"',
            "prefix",
            "lies outside the region 10.77.0.0/24",
        ),
        ('prefix = "10.77.0.0/25"', 'prefix = "10.77.0.0/26"', "prefix", "assigns a /25"),
        ('"198.51.100.1"', '"192.168.1.10"', "ipsec.local_address", "behind a NAT set local_id"),
    ],
)
def test_a_doubtful_value(old: str, new: str, key: str, message: str) -> None:
    ((where, text),) = warnings(changed(old, new)).items()
    assert where == f"tunnels.dc-a.{key}"
    assert message in text


@pytest.mark.parametrize(
    ("table", "lines", "key", "message"),
    [
        (
            "interface",
            "mss = 1375",
            "interface.mss",
            "1375: larger than the tunnel carries: at most 1374 with an MTU of 1414",
        ),
        ("interface", "mtu = 1380", "interface.mss", "at most 1340 with an MTU of 1380"),
        ("interface", "mtu = 1415", "interface.mtu", "1415: larger than the 1414 bytes that fit"),
        (
            "ipsec",
            "ike_lifetime_s = 1800",
            "ipsec.child_lifetime_s",
            "3600: longer than ike_lifetime_s (1800)",
        ),
        (
            "ipsec",
            "child_lifetime_bytes = 1_000_000_000",
            "ipsec.child_lifetime_bytes",
            "in 32.0 s at the service's rate",
        ),
        ("ipsec", "replay_window = 64", "ipsec.replay_window", "expected at least 1024"),
    ],
)
def test_a_doubtful_key(table: str, lines: str, key: str, message: str) -> None:
    ((where, text),) = warnings(with_key(table, lines)).items()
    assert where == f"tunnels.dc-a.{key}"
    assert message in text


def test_a_gre_key_takes_its_bytes_from_the_segment() -> None:
    assert warnings(with_key("interface", "mss = 1374")) == {}
    text = with_key("gre", "key = 7", with_key("interface", "mss = 1374"))
    assert "at most 1370" in warnings(text)["tunnels.dc-a.interface.mss"]


def test_an_identity_of_its_own_needs_no_warning_behind_a_nat() -> None:
    text = changed('"198.51.100.1"', '"192.168.1.10"')
    assert warnings(with_key("ipsec", 'local_id = "198.51.100.1"', text)) == {}


def test_a_region_that_is_no_24() -> None:
    assert "assigns a /24" in warnings(changed("10.77.0.0/24", "10.77.0.0/16"))["region"]


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        (
            "203.0.113.10",
            "198.51.100.10",
            "ipsec.remote_address",
            "198.51.100.10: both tunnels lead to one peer",
        ),
        ("10.77.0.128/25", "10.77.0.0/25", "prefix", "both tunnels have the same prefix"),
        ("192.0.2.20", "192.0.2.10", "gre", "both tunnels have the same GRE transport addresses"),
        (
            '"100.64.1.6/30"',
            '"100.64.1.3/29", remote_address = "100.64.1.5"',
            "interface.address",
            "overlaps",
        ),
    ],
)
def test_tunnels_that_are_too_much_alike(old: str, new: str, key: str, message: str) -> None:
    ((where, text),) = warnings(changed(old, new, BOTH)).items()
    assert where == f"tunnels.dc-b.{key}"
    assert message in text


def test_a_third_data_centre() -> None:
    third = (
        SECOND.replace("dc-b", "dc-c")
        .replace("203.0.113.10", "203.0.113.11")
        .replace("192.0.2.20", "192.0.2.30")
    )
    third = third.replace("100.64.1.6", "100.64.1.10").replace("10.77.0.128/25", "10.77.0.192/26")
    assert "a region has two data centres" in warnings(BOTH + third)["tunnels"]


def test_a_headend_where_a_second_tunnel_takes_any_peer() -> None:
    second = HEADEND[HEADEND.index("[tunnels") :].replace("branch-1", "branch-2")
    second = second.replace('192.0.2.1"', '192.0.2.2"').replace("100.64.1.1", "100.64.1.5")
    key = "tunnels.branch-2.ipsec.remote_address"
    assert "any: never gets a peer: tunnel branch-1 takes any" in warnings(HEADEND + second)[key]
    named = second.replace('"any",', '"any", remote_id = "fqdn:b2.example",')
    assert key in warnings(HEADEND + named)  # the identity comes too late
    local = second[second.index("local_address") :].split('"')[1]
    assert warnings(HEADEND + second.replace(f'"{local}"', '"203.0.113.99"', 1)) == {}
    assert warnings(HEADEND + second.replace('"any"', '"203.0.113.99"')) == {}

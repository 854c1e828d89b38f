"""Reading a configuration: values, defaults, and every error at once."""

from importlib import resources
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from vcstack.control.config import ConfigError, Configuration, load, loads
from vcstack.wire.secret import Secret

ENVIRONMENT = {"PSK": "a secret", "OTHER_PSK": "another secret", "BGP": "md5 secret", "LONG": "x" * 81}

CPE = """
region = "10.77.0.0/24"
[tunnels.dc-a]
prefix = "10.77.0.0/25"
[tunnels.dc-a.ipsec]
local_address = "198.51.100.1"
remote_address = "198.51.100.10"
psk = { env = "PSK" }
[tunnels.dc-a.gre]
local_address = "192.0.2.1"
remote_address = "192.0.2.10"
[tunnels.dc-a.interface]
address = "100.64.1.2/30"
[tunnels.dc-a.bgp]
local_as = 64512
remote_as = 64600
"""

HEADEND = """
role = "headend"
region = "10.77.0.0/24"
[tunnels.branch-1]
prefix = "10.77.0.0/25"
ipsec = { local_address = "198.51.100.10", remote_address = "any", psk = { env = "PSK" } }
gre = { local_address = "192.0.2.10", remote_address = "192.0.2.1" }
interface = { address = "100.64.1.1/30" }
bgp = { local_as = 64600, remote_as = 64512 }
"""


def read(text: str) -> Configuration:
    return loads(text, "vc.toml", environment=ENVIRONMENT)


def errors(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return {problem.key: str(problem) for problem in caught.value.problems}


def changed(old: str, new: str, text: str = CPE) -> str:
    assert old in text
    return text.replace(old, new)


def with_key(table: str, line: str, text: str = CPE) -> str:
    return changed(f"[tunnels.dc-a.{table}]", f"[tunnels.dc-a.{table}]\n{line}", text)


def test_a_cpe_with_one_tunnel_has_sensible_defaults() -> None:
    configuration = read(CPE)
    tunnel = configuration.tunnels["dc-a"]
    assert configuration.role == "cpe"
    assert configuration.region == IPv4Network("10.77.0.0/24")
    assert configuration.router_id == IPv4Address("100.64.1.2")
    assert tunnel.name == "dc-a"
    assert tunnel.ipsec.initiate
    assert tunnel.ipsec.pfs
    assert (tunnel.ipsec.local_id, tunnel.ipsec.remote_id) == ("198.51.100.1", "198.51.100.10")
    assert tunnel.ipsec.local_psk == tunnel.ipsec.remote_psk == Secret(b"a secret")
    assert (tunnel.gre.key, tunnel.gre.keepalive_interval_s, tunnel.gre.keepalive_retries) == (None, 10.0, 3)
    assert tunnel.interface.address == IPv4Interface("100.64.1.2/30")
    assert tunnel.interface.remote_address == IPv4Address("100.64.1.1")
    assert (tunnel.interface.name, tunnel.interface.mss, tunnel.interface.mtu) == ("vc-dc-a", 1350, "auto")
    assert tunnel.bgp.announce == (IPv4Network("0.0.0.0/0"),)
    assert tunnel.bgp.password is None
    assert configuration.warnings == ()


def test_a_headend_takes_ten_lines() -> None:
    configuration = read(HEADEND)
    tunnel = configuration.tunnels["branch-1"]
    assert len(HEADEND.split("\n")) - 2 <= 10
    assert tunnel.ipsec.remote_address is None
    assert tunnel.ipsec.remote_id is None
    assert not tunnel.ipsec.initiate
    assert tunnel.bgp.announce == (IPv4Network("10.77.0.0/25"), IPv4Network("10.77.0.0/24"))
    assert configuration.warnings == ()


def test_a_headend_may_announce_what_it_is_told() -> None:
    text = changed("remote_as = 64512", 'remote_as = 64512, announce = ["10.77.0.0/25"]', HEADEND)
    assert read(text).tunnels["branch-1"].bgp.announce == (IPv4Network("10.77.0.0/25"),)


def test_every_value_of_the_form_can_be_set() -> None:
    ipsec = """
local_id = "fqdn:cpe.example"
remote_id = "key_id:dc-a"
local_psk = { env = "OTHER_PSK" }
ike_proposals = ["aes256-sha256-prfsha256-modp2048"]
esp_proposals = ["aes128gcm16-ecp256"]
udp_encapsulation = "always"
ike_lifetime_s = 28800
child_lifetime_s = 1800.5
child_lifetime_bytes = 4_718_592_000
child_lifetime_packets = 1_000_000_000
dpd_interval_s = 30
replay_window = 1024
initiate = false
"""
    text = with_key("ipsec", ipsec)
    text = with_key(
        "gre", "key = 4294967295\nkeepalive = false\nkeepalive_interval_s = 0.5\nkeepalive_retries = 5", text
    )
    text = with_key("interface", 'name = "wan0"\nmss = 1300\nmtu = 1400\npath_mtu_discovery = false', text)
    text = with_key("bgp", 'password = { env = "BGP" }\nhold_time_s = 180', text)
    tunnel = read(text).tunnels["dc-a"]
    assert tunnel.ipsec.local_psk == Secret(b"another secret")
    assert tunnel.ipsec.remote_psk == Secret(b"a secret")
    assert (tunnel.ipsec.local_id, tunnel.ipsec.remote_id) == ("fqdn:cpe.example", "key_id:dc-a")
    assert tunnel.ipsec.child_lifetime_bytes == 4_718_592_000
    assert tunnel.ipsec.child_lifetime_s == 1800.5
    assert not tunnel.ipsec.initiate
    assert (tunnel.gre.key, tunnel.gre.keepalive, tunnel.gre.keepalive_interval_s) == (2**32 - 1, False, 0.5)
    assert (tunnel.interface.name, tunnel.interface.mtu) == ("wan0", 1400)
    assert tunnel.bgp.password is not None
    assert tunnel.bgp.password.reveal() == b"md5 secret"


def test_without_pfs_the_groups_go() -> None:
    text = with_key("ipsec", 'pfs = false\nesp_proposals = ["aes256gcm16-ecp384", "aes256gcm16-modp2048"]')
    assert read(text).tunnels["dc-a"].ipsec.esp_proposals == ("aes256gcm16",)
    defaults = read(with_key("ipsec", "pfs = false")).tunnels["dc-a"].ipsec.esp_proposals
    assert defaults == ("aes256gcm16-aes128gcm16-noesn-esn",)


def test_two_secrets_replace_one() -> None:
    both = 'local_psk = { env = "PSK" }\nremote_psk = { env = "OTHER_PSK" }'
    ipsec = read(changed('psk = { env = "PSK" }', both)).tunnels["dc-a"].ipsec
    assert (ipsec.local_psk, ipsec.remote_psk) == (Secret(b"a secret"), Secret(b"another secret"))
    ((key, message),) = errors(changed("psk = {", "local_psk = {")).items()
    assert key == "tunnels.dc-a.ipsec.psk"
    assert message.endswith("missing; expected psk, or both local_psk and remote_psk")


@pytest.mark.parametrize(
    ("address", "other"), [("100.64.1.1/30", "100.64.1.2"), ("100.64.1.0/31", "100.64.1.1")]
)
def test_the_other_end_of_a_small_network_is_known(address: str, other: str) -> None:
    text = changed("100.64.1.2/30", address)
    assert read(text).tunnels["dc-a"].interface.remote_address == IPv4Address(other)


def test_a_larger_network_needs_the_other_end() -> None:
    text = changed("100.64.1.2/30", "100.64.1.2/29")
    message = errors(text)["tunnels.dc-a.interface.remote_address"]
    assert message.endswith("expected the other end's address in 100.64.1.0/29")
    assert read(with_key("interface", 'remote_address = "100.64.1.6"', text)).warnings == ()


WRONG = [
    ("gre", 'keepalive_retries = "3"', 'keepalive_retries: "3": expected a whole number'),
    ("gre", "keepalive_retries = 0", "keepalive_retries: 0: expected at least 1"),
    ("gre", "keepalive = 1", "keepalive: 1: expected true or false"),
    ("gre", "keepalive_interval_s = nan", "keepalive_interval_s: nan: expected a finite number"),
    ("gre", "key = 4294967296", "key: 4294967296: expected at most 4294967295"),
    ("ipsec", 'udp_encapsulation = "never"', "udp_encapsulation: \"never\": expected 'auto' or 'always'"),
    ("ipsec", "replay_window = 1000", "replay_window: 1000: expected a multiple of 64 from 64 to 65536"),
    ("ipsec", "ike_proposals = []", "ike_proposals: expected a list that is not empty"),
    ("ipsec", 'ike_proposals = "aes"', 'ike_proposals: "aes": expected a list'),
    (
        "ipsec",
        'local_id = "fqdn:"',
        'local_id: "fqdn:": an IPv4 address, fqdn:NAME, email:NAME, key_id:NAME or dn:NAME expected',
    ),
    ("ipsec", 'local_id = "::1"', 'local_id: "::1": an IPv4 address'),
    (
        "ipsec",
        'ike_proposals = ["aes256gcm16-ecp384"]',
        'ike_proposals.0: "aes256gcm16-ecp384": a PRF is missing',
    ),
    (
        "ipsec",
        'esp_proposals = ["aes256-sha1"]',
        "esp_proposals.0: \"aes256-sha1\": 'sha1' is refused: too weak",
    ),
    ("ipsec", 'lcoal_id = "x"', 'lcoal_id: unknown key; did you mean "local_id"?'),
    ("ipsec", "esp_proposals = ['aes256gcm16']", "esp_proposals: expected a Diffie-Hellman group"),
    ("interface", "mss = 1461", "mss: 1461: expected at most 1460"),
    ("interface", 'mtu = "big"', 'mtu: "big": expected "auto" or a whole number of bytes from 576 to 9000'),
    ("interface", 'name = "much-too-long-a-name"', "expected an interface name of at most 15"),
    ("interface", 'remote_address = "100.64.1.2"', "expected the other end's address in 100.64.1.0/30"),
    ("bgp", "hold_time_s = 2", "hold_time_s: 2: expected at least 3"),
    (
        "bgp",
        'announce = ["10.0.0.0/8"]',
        "announce: expected no such key: a cpe announces 0.0.0.0/0 and nothing else",
    ),
    ("bgp", 'password = { env = "LONG" }', "password: expected a password of at most 80 bytes"),
]


@pytest.mark.parametrize(("table", "line", "message"), WRONG, ids=[line for _, line, _ in WRONG])
def test_a_wrong_value_is_named_with_what_is_expected(table: str, line: str, message: str) -> None:
    ((key, text),) = errors(with_key(table, line)).items()
    assert key.startswith(f"tunnels.dc-a.{table}.")
    assert message in text


CHANGED = [
    (
        'local_address = "192.0.2.1"',
        'local_address = "192.0.2"',
        'gre.local_address: "192.0.2": expected an IPv4',
    ),
    ('local_address = "192.0.2.1"', "local_address = 3", "gre.local_address: 3: expected text in quotes"),
    (
        'local_address = "192.0.2.1"',
        'local_address = "224.0.0.1"',
        "expected the unicast IPv4 address of a host",
    ),
    (
        '"192.0.2.10"',
        '"192.0.2.1"',
        'gre.remote_address: "192.0.2.1": expected another value than that of local',
    ),
    ('"198.51.100.10"', '"any"', 'ipsec.remote_address: "any": expected the IPv4 address of the data centre'),
    ("100.64.1.2/30", "100.64.1.2", "expected an address with its prefix length"),
    ("100.64.1.2/30", "100.64.1.3/30", "neither its first nor its last address"),
    (
        'prefix = "10.77.0.0/25"',
        'prefix = "10.77.0.1/25"',
        "expected a network without host bits, here 10.77.0.0/25",
    ),
    ('prefix = "10.77.0.0/25"', 'prefix = "10.77.0.0"', "expected a network with its prefix length"),
    (
        "local_as = 64512",
        "local_as = 64600",
        "bgp.remote_as: 64600: expected another value than that of local_as",
    ),
    ("local_as = 64512", "local_as = 23456", "except the reserved 23456"),
    ("local_as = 64512\n", "", "bgp.local_as: missing; expected our autonomous system number"),
    ("[tunnels.dc-a.bgp]\nlocal_as = 64512\nremote_as = 64600\n", "", "bgp: missing; expected the table"),
    ("[tunnels.dc-a]", "[tunnels.DC-A]\n[tunnels.dc-a]", 'tunnels.DC-A: "DC-A": expected a tunnel\'s name'),
    (
        'region = "10.77.0.0/24"',
        'region = "0.0.0.0/0"',
        'region: "0.0.0.0/0": expected a network of /16 or smaller',
    ),
    ('region = "10.77.0.0/24"', "", "region: missing; expected the /24 of the region"),
    (
        'region = "10.77.0.0/24"',
        'region = "10.77.0.0/24"\nrole = "hub"',
        "role: \"hub\": expected 'cpe' or 'headend'",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), CHANGED, ids=[new or old for old, new, _ in CHANGED])
def test_a_changed_line_is_refused(old: str, new: str, message: str) -> None:
    assert any(message in text for text in errors(changed(old, new)).values())


def test_every_error_comes_at_once() -> None:
    text = with_key("gre", "keepalive_retries = 0", changed('"100.64.1.2/30"', '"100.64.1.2"'))
    text = with_key("bgp", "pasword = {}", changed("psk = {", "psk2 = {", text)) + 'colour = "red"'
    assert set(errors(text)) == {
        "tunnels.dc-a.ipsec.psk",
        "tunnels.dc-a.ipsec.psk2",
        "tunnels.dc-a.gre.keepalive_retries",
        "tunnels.dc-a.interface.address",
        "tunnels.dc-a.bgp.pasword",
        "tunnels.dc-a.bgp.colour",
    }


def test_a_headend_cannot_call_anybody() -> None:
    text = changed('"any",', '"any", initiate = true,', HEADEND)
    assert "expected false" in errors(text)["tunnels.branch-1.ipsec.initiate"]


def test_interfaces_have_different_names() -> None:
    second = CPE[CPE.index("[tunnels") :].replace("dc-a", "dc-b")
    text = with_key("interface", 'name = "vc-dc-b"') + second
    assert "vc-dc-b, vc-dc-b" in errors(text)["tunnels"]


def test_toml_errors_have_line_and_column() -> None:
    message = errors("role = \n")[""]
    assert message.startswith("not TOML: ")
    assert "line 1, column 8" in message


@pytest.mark.parametrize(
    "line",
    [
        'psk = "hunter2"',
        "psk = 'hunter2'",
        'psk = { secret = "hunter2" }',
        'psk = { env = "hunter2" }',
        'psk = { env = "PSK", file = "hunter2" }',
        'psk = ["hunter2"]',
        'psk = { credential = "hunter2/" }',
        'ppsk = "hunter2"',
        'psk = { env = "PSK" }\nlocal_psk = "hunter2"',
    ],
)
def test_a_secret_in_the_wrong_place_is_never_shown(line: str) -> None:
    text = changed('psk = { env = "PSK" }', line)
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.problems
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_no_secret_in_the_representation() -> None:
    configuration = read(with_key("bgp", 'password = { env = "BGP" }'))
    assert "secret" not in repr(configuration)
    assert "secret" not in str(configuration)
    assert "secret" not in configuration.model_dump_json()
    assert '"psk":' not in configuration.model_dump_json()


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = with_key("gre", '"\\u001b[2J" = 1', changed('"192.0.2.10"', '"\\u001b[2J"'))
    assert all("\x1b" not in message for message in errors(text).values())


def test_a_file_is_read_beside_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "vc.toml"
    file.write_text(changed('{ env = "PSK" }', '{ file = "psk" }'))
    (tmp_path / "psk").write_text("from a file\n")
    (tmp_path / "psk").chmod(0o600)
    assert load(file).tunnels["dc-a"].ipsec.local_psk == Secret(b"from a file")


def test_an_unreadable_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file or directory"):
        load(tmp_path / "absent.toml")
    (tmp_path / "binary").write_bytes(b"role = \xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 7"):
        load(tmp_path / "binary")


def test_the_example_is_usable_and_its_commented_defaults_are_true(tmp_path: Path) -> None:
    text = resources.files("vcstack.control").joinpath("example.toml").read_text("utf-8")
    for name in ("dc-a.psk", "dc-b.psk", "dc-a.bgp", "dc-b.bgp"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o600)
    configuration = loads(text, directory=tmp_path)
    assert configuration.warnings == ()
    assert list(configuration.tunnels) == ["dc-a", "dc-b"]
    shown = loads(_uncommented(text), directory=tmp_path)
    assert shown.model_dump(exclude={"tunnels"}) == configuration.model_dump(exclude={"tunnels"})
    assert _first_tunnel(shown) == _first_tunnel(configuration)


def _first_tunnel(configuration: Configuration) -> dict[str, object]:
    """The values that the example shows as defaults; its lists and limits are examples."""
    limits = {"ike_proposals", "esp_proposals", "child_lifetime_bytes", "child_lifetime_packets"}
    return configuration.tunnels["dc-a"].model_dump(exclude={"gre": {"key"}, "ipsec": limits})


def _uncommented(text: str) -> str:
    """The example with every commented key in force, except other ways to authenticate."""
    lines = [
        line.removeprefix("# ") if " = " in line.partition("#")[2] else line for line in text.splitlines()
    ]
    other = ("auth", "local_psk", "remote_psk", "certificate", "private_key", "ca ", "remote_public", "ppk")
    return "\n".join(line for line in lines if not line.startswith(other))

"""The vocabulary of the configuration file: a type turns text into a value, or says what is expected.

The parsers raise PydanticCustomError: of type EXPECTED, whose message completes the sentence "expected ...",
or of type STATED, whose message stands by itself.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from vcstack.control.secrets import SecretError, resolve
from vcstack.ikev2.errors import ConfigurationError
from vcstack.ikev2.iana import DhGroup
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.proposal import EspProposal, IkeProposal
from vcstack.wire.secret import Secret

EXPECTED = "vcstack_expected"
STATED = "vcstack_stated"
ANY_PEER = "any"
MIN_MTU = 576
MAX_MTU = 9000

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file is read with: where relative secret files are, the environment, the file's role."""

    directory: Path
    environment: Mapping[str, str] = field(repr=False)
    role: str


def origin_of(info: ValidationInfo) -> Origin:
    """The Origin, which is the context of every validation."""
    assert isinstance(info.context, Origin), "validation is given the origin of the file"
    return info.context


def expected(text: str) -> PydanticCustomError:
    """The error that a value is not `text`."""
    return PydanticCustomError(EXPECTED, "{text}", {"text": text})


def stated(text: str) -> PydanticCustomError:
    """The error that `text` says by itself."""
    return PydanticCustomError(STATED, "{text}", {"text": text})


def parse_address(value: object) -> IPv4Address:
    """An IPv4 address of one host."""
    if isinstance(value, IPv4Address):
        return value
    try:
        address = IPv4Address(_text(value))
    except AddressValueError:
        raise expected("an IPv4 address such as 198.51.100.1") from None
    if (
        address.is_unspecified
        or address.is_multicast
        or address.is_loopback
        or address == IPv4Address("255.255.255.255")
    ):
        raise expected("the unicast IPv4 address of a host")
    return address


def parse_peer_address(value: object) -> IPv4Address | None:
    """An IPv4 address, or None where `any` is written."""
    return None if value is None or value == ANY_PEER else parse_address(value)


def parse_network(value: object) -> IPv4Network:
    """A network with its prefix length and without host bits."""
    if isinstance(value, IPv4Network):
        return value
    text = _text(value)
    try:
        network = IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError):
        raise expected("a network with its prefix length such as 10.77.0.0/24") from None
    if "/" not in text:
        raise expected(f"a network with its prefix length such as {network.network_address}/24")
    if str(network.network_address) != text.partition("/")[0]:
        raise expected(f"a network without host bits, here {network}")
    return network


def parse_interface(value: object) -> IPv4Interface:
    """A host address with the prefix length of its network."""
    if isinstance(value, IPv4Interface):
        return value
    text = _text(value)
    try:
        interface = IPv4Interface(text)
    except (AddressValueError, NetmaskValueError):
        raise expected("an address with its prefix length such as 100.64.1.2/30") from None
    network = interface.network
    if "/" not in text or not 8 <= network.prefixlen <= 31:
        raise expected(f"an address with its prefix length, /8 to /31, such as {interface.ip}/30")
    if network.prefixlen < 31 and interface.ip in {network.network_address, network.broadcast_address}:
        raise expected(f"the address of a host in {network}, neither its first nor its last address")
    return interface


def parse_mtu(value: object) -> int | Literal["auto"]:
    """The tunnel's MTU in bytes, or `auto` to follow the path."""
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and MIN_MTU <= value <= MAX_MTU:
        return value
    raise expected(f'"auto" or a whole number of bytes from {MIN_MTU} to {MAX_MTU}')


def parse_as_number(value: object) -> int:
    """A usable autonomous system number: RFC 7607 bars 0, RFC 6793 reserves 23456, RFC 7300 the last ones."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise expected("an autonomous system number, as a whole number")
    if not 1 <= value < 4_294_967_295 or value in {23456, 65535}:
        raise expected(
            "an autonomous system number from 1 to 4294967294, except the reserved 23456 and 65535"
        )
    return value


def parse_replay_window(value: object) -> int:
    """The size of the anti-replay window in packets."""
    if not isinstance(value, int) or isinstance(value, bool) or value % 64 or not 64 <= value <= 65536:
        raise expected("a multiple of 64 from 64 to 65536")
    return value


def parse_path(value: object) -> Path:
    """An absolute path that fits into the address of a unix socket (107 bytes)."""
    path = value if isinstance(value, Path) else Path(_text(value))
    if not path.is_absolute() or len(str(path).encode()) > 107:
        raise expected("an absolute path of at most 107 bytes")
    return path


def parse_secret(value: object, info: ValidationInfo) -> Secret:
    """The secret behind a reference; the validation context is the Origin."""
    if isinstance(value, Secret):
        return value
    origin = origin_of(info)
    try:
        return resolve(value, origin.directory, origin.environment)
    except SecretError as error:
        raise stated(str(error)) from None


def parse_optional_secret(value: object, info: ValidationInfo) -> Secret | None:
    """As parse_secret, with None for a secret that is not given."""
    return None if value is None else parse_secret(value, info)


def matching(pattern: str, description: str) -> Callable[[object], str]:
    """A parser of text that matches `pattern` as a whole."""
    compiled = re.compile(pattern)

    def parse(value: object) -> str:
        text = _text(value)
        if not compiled.fullmatch(text):
            raise expected(description)
        return text

    return parse


def differs(value: Value, info: ValidationInfo, other: str) -> Value:
    """`value`, unless the key `other` of the same table has it too."""
    if value == info.data.get(other):
        raise expected(f"another value than that of {other}")
    return value


def parse_identity(value: object) -> str:
    """The text of an identity that IKE can carry."""
    return _accepted(_text(value), Identity.parse, "identity")


def parse_ike_proposal(value: object) -> str:
    """The text of a proposal for IKE SAs."""
    return _accepted(_text(value), IkeProposal.parse, "proposal")


def parse_esp_proposal(value: object) -> str:
    """The text of a proposal for ESP."""
    return _accepted(_text(value), EspProposal.parse, "proposal")


def _accepted(text: str, parse: Callable[[str], object], kind: str) -> str:
    try:
        parse(text)
    except ConfigurationError as error:
        raise stated(str(error).removeprefix(f"{kind} {text!r}: ")) from None
    return text


def has_group(proposal: str) -> bool:
    """Whether an ESP proposal names a Diffie-Hellman group, for perfect forward secrecy at a rekey."""
    return any(group != DhGroup.NONE for group in EspProposal.parse(proposal).groups)


def without_group(proposal: str) -> str:
    """The ESP proposal without its Diffie-Hellman groups."""
    return str(EspProposal.parse(proposal).without_groups())


def as_tuple(value: object) -> object:
    """A TOML list, kept as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def as_full_tuple(value: object) -> object:
    """A TOML list that is not empty, kept as a tuple."""
    if value == []:
        raise expected("a list that is not empty")
    return as_tuple(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise expected("text in quotes")
    return value


Address = Annotated[IPv4Address, BeforeValidator(parse_address)]
PeerAddress = Annotated[IPv4Address | None, PlainValidator(parse_peer_address)]
Network = Annotated[IPv4Network, BeforeValidator(parse_network)]
InterfaceAddress = Annotated[IPv4Interface, BeforeValidator(parse_interface)]
Mtu = Annotated[int | Literal["auto"], PlainValidator(parse_mtu)]
SocketPath = Annotated[Path, BeforeValidator(parse_path)]
SecretReference = Annotated[Secret, PlainValidator(parse_secret)]
OptionalSecret = Annotated[Secret | None, PlainValidator(parse_optional_secret)]
Name = Annotated[
    str,
    BeforeValidator(
        matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of letters, digits, dot and hyphen")
    ),
]
TunnelName = Annotated[
    str,
    BeforeValidator(
        matching(
            r"[a-z0-9][a-z0-9-]{0,11}", "a tunnel's name of at most 12 small letters, digits and hyphens"
        )
    ),
]
DeviceName = Annotated[
    str,
    BeforeValidator(
        matching(
            r"[A-Za-z][A-Za-z0-9_.-]{0,14}", "an interface name of at most 15 letters, digits and hyphens"
        )
    ),
]
IdentityText = Annotated[str, BeforeValidator(parse_identity)]
IkeProposalText = Annotated[str, BeforeValidator(parse_ike_proposal)]
EspProposalText = Annotated[str, BeforeValidator(parse_esp_proposal)]
ReplayWindow = Annotated[int, BeforeValidator(parse_replay_window)]
Seconds = Annotated[float, Field(ge=1, le=31_536_000, allow_inf_nan=False)]
AsNumber = Annotated[int, BeforeValidator(parse_as_number)]

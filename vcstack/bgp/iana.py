"""The BGP registries. A number that is not listed stays a number: it is kept, compared and printed."""

from __future__ import annotations

from enum import IntEnum


class Registry(IntEnum):
    """An IntEnum that knows numbers it has no name for."""

    @classmethod
    def _missing_(cls, value: object) -> Registry | None:
        if not isinstance(value, int) or value < 0:
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNASSIGNED_{value}"
        member._value_ = value
        return member

    @property
    def words(self) -> str:
        """The name as the RFCs write it in running text."""
        return " ".join(
            word if word in _ABBREVIATIONS else _SPELLING.get(word, word.capitalize())
            for word in self.name.split("_")
        )


_ABBREVIATIONS = frozenset({"AS", "BGP", "OPEN", "UPDATE", "NEXT", "HOP", "PATH", "BFD", "FSM"})
_SPELLING = {
    "WELLKNOWN": "Well-known",
    "IN": "in",
    "OF": "of",
    "OPENSENT": "OpenSent",
    "OPENCONFIRM": "OpenConfirm",
}


class MessageType(Registry):
    """RFC 4271 4.1, RFC 2918 3."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


class ErrorCode(Registry):
    """RFC 4271 4.5, RFC 7313 5, RFC 9687 4."""

    MESSAGE_HEADER_ERROR = 1
    OPEN_MESSAGE_ERROR = 2
    UPDATE_MESSAGE_ERROR = 3
    HOLD_TIMER_EXPIRED = 4
    FSM_ERROR = 5
    CEASE = 6
    ROUTE_REFRESH_MESSAGE_ERROR = 7
    SEND_HOLD_TIMER_EXPIRED = 8


class HeaderSubcode(Registry):
    """RFC 4271 6.1."""

    UNSPECIFIC = 0
    CONNECTION_NOT_SYNCHRONIZED = 1
    BAD_MESSAGE_LENGTH = 2
    BAD_MESSAGE_TYPE = 3


class OpenSubcode(Registry):
    """RFC 4271 6.2, RFC 5492 5."""

    UNSPECIFIC = 0
    UNSUPPORTED_VERSION_NUMBER = 1
    BAD_PEER_AS = 2
    BAD_BGP_IDENTIFIER = 3
    UNSUPPORTED_OPTIONAL_PARAMETER = 4
    AUTHENTICATION_FAILURE = 5
    UNACCEPTABLE_HOLD_TIME = 6
    UNSUPPORTED_CAPABILITY = 7
    ROLE_MISMATCH = 11


class UpdateSubcode(Registry):
    """RFC 4271 6.3."""

    UNSPECIFIC = 0
    MALFORMED_ATTRIBUTE_LIST = 1
    UNRECOGNIZED_WELLKNOWN_ATTRIBUTE = 2
    MISSING_WELLKNOWN_ATTRIBUTE = 3
    ATTRIBUTE_FLAGS_ERROR = 4
    ATTRIBUTE_LENGTH_ERROR = 5
    INVALID_ORIGIN_ATTRIBUTE = 6
    AS_ROUTING_LOOP = 7
    INVALID_NEXT_HOP_ATTRIBUTE = 8
    OPTIONAL_ATTRIBUTE_ERROR = 9
    INVALID_NETWORK_FIELD = 10
    MALFORMED_AS_PATH = 11


class FsmSubcode(Registry):
    """RFC 6608 3."""

    UNSPECIFIED_ERROR = 0
    UNEXPECTED_MESSAGE_IN_OPENSENT = 1
    UNEXPECTED_MESSAGE_IN_OPENCONFIRM = 2
    UNEXPECTED_MESSAGE_IN_ESTABLISHED = 3


class CeaseSubcode(Registry):
    """RFC 4486 3, RFC 8538 3.1, RFC 9384."""

    UNSPECIFIC = 0
    MAXIMUM_NUMBER_OF_PREFIXES_REACHED = 1
    ADMINISTRATIVE_SHUTDOWN = 2
    PEER_DECONFIGURED = 3
    ADMINISTRATIVE_RESET = 4
    CONNECTION_REJECTED = 5
    OTHER_CONFIGURATION_CHANGE = 6
    CONNECTION_COLLISION_RESOLUTION = 7
    OUT_OF_RESOURCES = 8
    HARD_RESET = 9
    BFD_DOWN = 10


class RefreshSubcode(Registry):
    """RFC 7313 5."""

    RESERVED = 0
    INVALID_MESSAGE_LENGTH = 1


class RefreshSubtype(Registry):
    """RFC 7313 3.2."""

    REQUEST = 0
    BEGIN = 1
    END = 2


SUBCODES: dict[ErrorCode, type[Registry]] = {
    ErrorCode.MESSAGE_HEADER_ERROR: HeaderSubcode,
    ErrorCode.OPEN_MESSAGE_ERROR: OpenSubcode,
    ErrorCode.UPDATE_MESSAGE_ERROR: UpdateSubcode,
    ErrorCode.FSM_ERROR: FsmSubcode,
    ErrorCode.CEASE: CeaseSubcode,
    ErrorCode.ROUTE_REFRESH_MESSAGE_ERROR: RefreshSubcode,
}


class ParameterType(Registry):
    """OPEN optional parameters: RFC 5492 4, RFC 9072 2."""

    CAPABILITIES = 2
    EXTENDED_LENGTH = 255


class CapabilityCode(Registry):
    """RFC 5492 and the documents that registered a code."""

    MULTIPROTOCOL = 1
    ROUTE_REFRESH = 2
    OUTBOUND_ROUTE_FILTERING = 3
    EXTENDED_NEXT_HOP = 5
    EXTENDED_MESSAGE = 6
    ROLE = 9
    GRACEFUL_RESTART = 64
    FOUR_OCTET_AS = 65
    DYNAMIC = 67
    ADD_PATH = 69
    ENHANCED_ROUTE_REFRESH = 70
    LONG_LIVED_GRACEFUL_RESTART = 71
    FQDN = 73
    SOFTWARE_VERSION = 75
    CISCO_ROUTE_REFRESH = 128


class Afi(Registry):
    """Address families, RFC 4760 3."""

    IPV4 = 1
    IPV6 = 2


class Safi(Registry):
    """Subsequent address families, RFC 4760 6."""

    UNICAST = 1
    MULTICAST = 2


class AttributeCode(Registry):
    """Path attributes."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MULTI_EXIT_DISC = 4
    LOCAL_PREF = 5
    ATOMIC_AGGREGATE = 6
    AGGREGATOR = 7
    COMMUNITIES = 8
    ORIGINATOR_ID = 9
    CLUSTER_LIST = 10
    MP_REACH_NLRI = 14
    MP_UNREACH_NLRI = 15
    EXTENDED_COMMUNITIES = 16
    AS4_PATH = 17
    AS4_AGGREGATOR = 18
    PMSI_TUNNEL = 22
    TUNNEL_ENCAPSULATION = 23
    IPV6_EXTENDED_COMMUNITIES = 25
    AIGP = 26
    LINK_STATE = 29
    LARGE_COMMUNITIES = 32
    ONLY_TO_CUSTOMER = 35
    PREFIX_SID = 40


class Origin(IntEnum):
    """RFC 4271 5.1.1; the registry is closed."""

    IGP = 0
    EGP = 1
    INCOMPLETE = 2


class SegmentType(IntEnum):
    """RFC 4271 4.3 and RFC 5065 3; the registry is closed."""

    AS_SET = 1
    AS_SEQUENCE = 2
    AS_CONFED_SEQUENCE = 3
    AS_CONFED_SET = 4

"""Algorithms by the names that operators know from strongSwan, and those that are refused by name.

RFC 8247 (IKEv2) and RFC 8221 (ESP) say what is too weak; it is neither offered nor accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vcstack.ikev2.errors import ConfigurationError
from vcstack.ikev2.iana import (
    DhGroup,
    EncryptionId,
    EsnId,
    IntegrityId,
    PrfId,
    Registry,
    TransformType,
)
from vcstack.ikev2.wire.sa import Transform


@dataclass(frozen=True, slots=True)
class Encryption:
    """A cipher with its key size in bits (the salt of GCM not counted)."""

    id: EncryptionId
    key_bits: int

    @property
    def is_aead(self) -> bool:
        """Whether it authenticates by itself, so that no integrity algorithm goes with it (RFC 5282 8)."""
        return self.id == EncryptionId.AES_GCM_16


Algorithm = Encryption | PrfId | IntegrityId | DhGroup | EsnId

NAMES: Final[Mapping[str, Algorithm]] = {
    "aes256gcm16": Encryption(EncryptionId.AES_GCM_16, 256),
    "aes128gcm16": Encryption(EncryptionId.AES_GCM_16, 128),
    "aes256": Encryption(EncryptionId.AES_CBC, 256),
    "aes128": Encryption(EncryptionId.AES_CBC, 128),
    "sha256": IntegrityId.HMAC_SHA2_256_128,
    "sha384": IntegrityId.HMAC_SHA2_384_192,
    "sha512": IntegrityId.HMAC_SHA2_512_256,
    "prfsha256": PrfId.HMAC_SHA2_256,
    "prfsha384": PrfId.HMAC_SHA2_384,
    "prfsha512": PrfId.HMAC_SHA2_512,
    "modp2048": DhGroup.MODP_2048,
    "modp3072": DhGroup.MODP_3072,
    "modp4096": DhGroup.MODP_4096,
    "ecp256": DhGroup.ECP_256,
    "ecp384": DhGroup.ECP_384,
    "ecp521": DhGroup.ECP_521,
    "curve25519": DhGroup.CURVE25519,
    "none": DhGroup.NONE,
    "noesn": EsnId.NO_ESN,
    "esn": EsnId.ESN,
}
"""The one name per algorithm that is printed; ALIASES are read as well."""

ALIASES: Final[Mapping[str, str]] = {
    "aes256gcm": "aes256gcm16",
    "aes128gcm": "aes128gcm16",
    "aes256gcm128": "aes256gcm16",
    "aes128gcm128": "aes128gcm16",
    "aes": "aes128",
    "sha2_256": "sha256",
    "sha2_384": "sha384",
    "sha2_512": "sha512",
    "x25519": "curve25519",
    "modpnone": "none",
}

WEAK: Final = frozenset(
    (
        *("des", "3des", "null", "aes128ccm8", "aes256ccm8", "aes128gmac", "aes256gmac"),
        *("aes128gcm8", "aes256gcm8", "aes128gcm12", "aes256gcm12"),
        *("md5", "sha", "sha1", "prfmd5", "prfsha1"),
        *("modp768", "modp1024", "modp1536", "modp1024s160", "modp2048s224", "modp2048s256"),
        *("ecp192", "ecp224"),
    )
)
"""Names from other implementations that RFC 8247 or RFC 8221 forbid or advise against."""

PRF_OF_INTEGRITY: Final[Mapping[IntegrityId, PrfId]] = {
    IntegrityId.HMAC_SHA2_256_128: PrfId.HMAC_SHA2_256,
    IntegrityId.HMAC_SHA2_384_192: PrfId.HMAC_SHA2_384,
    IntegrityId.HMAC_SHA2_512_256: PrfId.HMAC_SHA2_512,
}

_LABELS: Final[Mapping[TransformType, str]] = {
    TransformType.ENCRYPTION: "encryption",
    TransformType.PRF: "PRF",
    TransformType.INTEGRITY: "integrity",
    TransformType.DH_GROUP: "DH group",
    TransformType.ESN: "ESN",
}
_REGISTRIES: Final[Mapping[TransformType, type[Registry]]] = {
    TransformType.ENCRYPTION: EncryptionId,
    TransformType.PRF: PrfId,
    TransformType.INTEGRITY: IntegrityId,
    TransformType.DH_GROUP: DhGroup,
    TransformType.ESN: EsnId,
}
_TYPES: Final[Mapping[type[Algorithm], TransformType]] = {
    Encryption: TransformType.ENCRYPTION,
    PrfId: TransformType.PRF,
    IntegrityId: TransformType.INTEGRITY,
    DhGroup: TransformType.DH_GROUP,
    EsnId: TransformType.ESN,
}


def algorithm(name: str) -> Algorithm:
    """The algorithm of that name; ConfigurationError for a weak or unknown one."""
    lower = name.strip().lower()
    found = NAMES.get(ALIASES.get(lower, lower))
    if found is not None:
        return found
    if lower in WEAK:
        raise ConfigurationError(f"{name!r} is refused: too weak (RFC 8247, RFC 8221)")
    raise ConfigurationError(f"{name!r} is not an algorithm of vcstack, which has {', '.join(NAMES)}")


def transform(chosen: Algorithm) -> Transform:
    """The algorithm as it stands in a proposal."""
    if isinstance(chosen, Encryption):
        return Transform(TransformType.ENCRYPTION, chosen.id.value, chosen.key_bits)
    return Transform(_TYPES[type(chosen)], chosen.value)


def type_label(kind: TransformType) -> str:
    """What a transform type is called in messages."""
    return _LABELS.get(kind, f"transform type {kind.value}")


def transform_name(item: Transform) -> str:
    """A transform for messages: our name, else the registry's, groups with their numbers."""
    name = _OWN_NAMES.get(item)
    if name is None:
        registry = _REGISTRIES.get(item.type)
        bits = "" if item.key_length is None else f"/{item.key_length}"
        name = f"{item.id if registry is None else registry(item.id).name}{bits}"
    return f"{item.id} ({name})" if item.type == TransformType.DH_GROUP else name


def name_of(chosen: Algorithm) -> str:
    """The name that `algorithm` reads."""
    return _OWN_NAMES[transform(chosen)]


_OWN_NAMES: Final[Mapping[Transform, str]] = {transform(item): name for name, item in NAMES.items()}

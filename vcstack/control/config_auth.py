"""How both ends of a tunnel prove who they are: pre-shared keys, certificates, bare public keys, and PPKs.

`auth` is for both ends, `local_auth` and `remote_auth` for one. What each way needs is asked for, and what it
has no use for is refused: a key that is given but not used is a mistake.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainValidator, ValidationInfo, field_validator, model_validator

from vcstack.control.config_table import Table
from vcstack.control.config_types import (
    OptionalSecret,
    SecretReference,
    expected,
    origin_of,
    parse_secret,
    stated,
)
from vcstack.crypto.certificate import Certificate
from vcstack.crypto.errors import CryptoError
from vcstack.crypto.signature import SigningKey, VerifyingKey
from vcstack.ikev2.credentials import Ppk, vouches_for
from vcstack.ikev2.identity import Identity
from vcstack.wire.secret import Secret

Way = Literal["psk", "certificate", "public-key"]
WAYS: Final = '"psk", "certificate" or "public-key"'
PPK_REFERENCE: Final = '{ id = "NAME", file = "path" }, or env or credential in place of file'
MAX_FILE_BYTES: Final = 100_000
MAX_PPK_ID_BYTES: Final = 64

_USERS: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "local_psk": ("local_auth", frozenset({"psk"})),
    "remote_psk": ("remote_auth", frozenset({"psk"})),
    "certificate": ("local_auth", frozenset({"certificate"})),
    "private_key": ("local_auth", frozenset({"certificate", "public-key"})),
    "ca": ("remote_auth", frozenset({"certificate"})),
    "remote_public_key": ("remote_auth", frozenset({"public-key"})),
}
"""Which key of the table serves which end's ways."""


def parse_certificates(value: object, info: ValidationInfo) -> tuple[Certificate, ...]:
    """All certificates of a file in PEM or DER."""
    path, data = _read(value, info)
    try:
        return Certificate.load_all(data)
    except CryptoError as error:
        raise stated(f"file {path}: {error}") from None


def parse_public_keys(value: object, info: ValidationInfo) -> tuple[VerifyingKey, ...]:
    """The public keys of one or several files."""
    files = value if isinstance(value, list) else [value]
    if not files:
        raise expected("a file, or a list of files, with a public key each")
    return tuple(_public_key(each, info) for each in files)


def _public_key(value: object, info: ValidationInfo) -> VerifyingKey:
    path, data = _read(value, info)
    try:
        return VerifyingKey.load(data)
    except CryptoError as error:
        raise stated(f"file {path}: {error}") from None


def parse_private_key(value: object, info: ValidationInfo) -> SigningKey:
    """The private key behind a reference to a secret."""
    pem = parse_secret(value, info)
    try:
        return SigningKey.load(pem, prefers_pss=info.data.get("rsa_padding") == "pss")
    except CryptoError as error:
        raise stated(str(error)) from None


def parse_ppk(value: object, info: ValidationInfo) -> Ppk:
    """A postquantum preshared key: a reference to a secret, an identifier, and whether it is mandatory."""
    if not isinstance(value, dict):
        raise expected(PPK_REFERENCE)
    reference = dict(value)
    name, is_mandatory = reference.pop("id", None), reference.pop("mandatory", False)
    if not isinstance(name, str) or not 1 <= len(name.encode()) <= MAX_PPK_ID_BYTES or not name.isprintable():
        raise expected(PPK_REFERENCE)
    if not isinstance(is_mandatory, bool):
        raise expected("mandatory = true or mandatory = false")
    return Ppk(name, parse_secret(reference, info), is_mandatory=is_mandatory)


def _read(value: object, info: ValidationInfo) -> tuple[Path, bytes]:
    if not isinstance(value, str) or not value:
        raise expected("the path of a file, in quotes")
    path = origin_of(info).directory / value
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise stated(f"file {path} cannot be read: {reason}") from None
    if len(data) > MAX_FILE_BYTES:
        raise stated(f"file {path} is longer than {MAX_FILE_BYTES} bytes")
    return path, data


def _is_used(key: str, ways: Mapping[str, Any]) -> bool:
    """Whether a key of the table serves the way that its end goes."""
    end, users = _USERS[key]
    return ways.get(end, ways.get("auth", "psk")) in users


def _psk_for(key: str) -> Any:
    return lambda data: data["psk"] if _is_used(key, data) else None


Certificates = Annotated[tuple[Certificate, ...], PlainValidator(parse_certificates)]
PublicKeys = Annotated[tuple[VerifyingKey, ...], PlainValidator(parse_public_keys)]
PrivateKey = Annotated[SigningKey, PlainValidator(parse_private_key)]
PpkReference = Annotated[Ppk, PlainValidator(parse_ppk)]


class Authentication(Table):
    """The keys of [tunnels.NAME.ipsec] that are about authentication."""

    auth: Way = Field("psk", description=WAYS)
    local_auth: Way = Field(default_factory=lambda data: data["auth"], description=WAYS)
    remote_auth: Way = Field(default_factory=lambda data: data["auth"], description=WAYS)
    psk: OptionalSecret = Field(description="psk, or both local_psk and remote_psk", exclude=True)
    local_psk: SecretReference | None = Field(
        default_factory=_psk_for("local_psk"), description="the secret that we prove", exclude=True
    )
    remote_psk: SecretReference | None = Field(
        default_factory=_psk_for("remote_psk"), description="the secret that the peer proves", exclude=True
    )
    rsa_padding: Literal["pss", "pkcs1"] = Field("pss", description='"pss" or "pkcs1"')
    certificate: Certificates | None = Field(
        None,
        validate_default=True,
        exclude=True,
        description="the file of our certificate, followed by those between it and the authority",
    )
    private_key: PrivateKey | None = Field(
        None, validate_default=True, exclude=True, description='the private key, such as { file = "path" }'
    )
    ca: Certificates | None = Field(
        None,
        validate_default=True,
        exclude=True,
        description="the file of the authorities whose certificates the peer may show",
    )
    remote_public_key: PublicKeys | None = Field(
        None, validate_default=True, exclude=True, description="the file of the peer's public key, or a list"
    )
    ppk: PpkReference | None = Field(None, exclude=True, description=PPK_REFERENCE)

    @model_validator(mode="before")
    @classmethod
    def _psk_where_it_is_needed(cls, data: Any) -> Any:
        """A psk is asked for unless each end has a secret of its own, or no use for one."""
        if not isinstance(data, dict) or "psk" in data:
            return data
        needed = {key for key in ("local_psk", "remote_psk") if _is_used(key, data)}
        return {"psk": None, **data} if needed <= data.keys() else data

    @field_validator("psk")
    @classmethod
    def _psk_is_used(cls, psk: Secret | None, info: ValidationInfo) -> Secret | None:
        if psk is not None and not any(_is_used(key, info.data) for key in ("local_psk", "remote_psk")):
            raise stated("of no use: neither end authenticates by a pre-shared key")
        return psk

    @field_validator(*_USERS)
    @classmethod
    def _given_if_used(cls, value: Any, info: ValidationInfo) -> Any:
        key = str(info.field_name)
        end = _USERS[key][0]
        way = info.data.get(end)
        used = way is not None and _is_used(key, info.data)
        if value is None and used:
            raise stated(f'missing; {end} is "{way}": expected {cls.model_fields[key].description}')
        if value is not None and way is not None and not used:
            raise stated(f'of no use: {end} is "{way}"')
        return value

    @field_validator("private_key")
    @classmethod
    def _fits_the_certificate(cls, key: SigningKey | None, info: ValidationInfo) -> SigningKey | None:
        chain: tuple[Certificate, ...] | None = info.data.get("certificate")
        if key is not None and chain and chain[0].key != key.public:
            raise stated(f"not the private key of the certificate ({chain[0].subject})")
        return key


def check_local_id(identity: str, info: ValidationInfo) -> str:
    """Our identity, which our certificate has to name: no peer would accept another."""
    chain: tuple[Certificate, ...] | None = info.data.get("certificate")
    if chain and not vouches_for(chain[0].names, Identity.parse(identity)):
        raise stated(f"the certificate ({chain[0].subject}) is not for this identity")
    return identity

import pytest

from vcstack.crypto.dh import is_supported
from vcstack.ikev2.algorithms import NAMES, WEAK, Encryption, algorithm, name_of, transform, transform_name
from vcstack.ikev2.errors import ConfigurationError
from vcstack.ikev2.iana import (
    DhGroup,
    EncryptionId,
    EsnId,
    IntegrityId,
    PrfId,
    ProtocolId,
    TransformType,
)
from vcstack.ikev2.proposal import (
    DEFAULT_ESP_PROPOSALS,
    DEFAULT_IKE_PROPOSALS,
    EspProposal,
    EspSuite,
    IkeProposal,
    IkeSuite,
    describe,
    offer,
)
from vcstack.ikev2.wire.sa import Transform

GCM_256, CBC_128 = Encryption(EncryptionId.AES_GCM_16, 256), Encryption(EncryptionId.AES_CBC, 128)


def test_gcm_proposal_for_ike() -> None:
    proposal = IkeProposal.parse("aes256gcm16-prfsha384-ecp384")
    assert proposal == IkeProposal((GCM_256,), (), (PrfId.HMAC_SHA2_384,), (DhGroup.ECP_384,))
    assert str(proposal) == "aes256gcm16-prfsha384-ecp384"


def test_the_prf_of_a_cbc_proposal_follows_its_integrity() -> None:
    proposal = IkeProposal.parse("aes128-sha256-modp2048")
    assert proposal == IkeProposal(
        (CBC_128,), (IntegrityId.HMAC_SHA2_256_128,), (PrfId.HMAC_SHA2_256,), (DhGroup.MODP_2048,)
    )
    assert str(proposal) == "aes128-sha256-modp2048"
    assert str(IkeProposal.parse("aes128-sha256-prfsha512-modp2048")) == "aes128-sha256-prfsha512-modp2048"


def test_esp_proposals() -> None:
    assert EspProposal.parse("aes256gcm16") == EspProposal((GCM_256,))
    assert EspProposal.parse("aes256gcm16-ecp384-none").groups == (DhGroup.ECP_384, DhGroup.NONE)
    assert EspProposal.parse("aes256gcm16-esn-noesn").esn == (EsnId.ESN, EsnId.NO_ESN)
    assert str(EspProposal.parse("aes256gcm16-noesn")) == "aes256gcm16"
    assert str(EspProposal.parse("aes256gcm16-ecp384-esn")) == "aes256gcm16-ecp384-esn"
    assert EspProposal.parse("aes256gcm16-ecp384").without_groups() == EspProposal.parse("aes256gcm16")


@pytest.mark.parametrize("proposal", [*DEFAULT_IKE_PROPOSALS, *DEFAULT_ESP_PROPOSALS])
def test_defaults_survive_their_text_form(proposal: IkeProposal | EspProposal) -> None:
    assert type(proposal).parse(str(proposal)) == proposal


def test_every_group_that_can_be_named_can_be_computed() -> None:
    groups = [item for item in NAMES.values() if isinstance(item, DhGroup) and item != DhGroup.NONE]
    assert len(groups) == 7
    assert all(is_supported(group) for group in groups)
    assert DEFAULT_IKE_PROPOSALS[0].groups == DEFAULT_IKE_PROPOSALS[1].groups
    assert set(DEFAULT_IKE_PROPOSALS[0].groups) == set(groups)


def test_algorithms_of_different_types_with_equal_numbers_stay_apart() -> None:
    """HMAC_SHA2_512_256 and MODP_2048 are both 14."""
    proposal = IkeProposal.parse("aes256-sha512-modp2048")
    assert proposal.integrity == (IntegrityId.HMAC_SHA2_512_256,)
    assert proposal.groups == (DhGroup.MODP_2048,)
    assert EspProposal.parse("aes256gcm16-none-noesn").esn == (EsnId.NO_ESN,)


def test_repeated_and_alternative_names() -> None:
    assert IkeProposal.parse("AES256GCM-aes256gcm128-prfsha256-x25519") == IkeProposal.parse(
        "aes256gcm16-prfsha256-curve25519"
    )
    assert all(algorithm(name_of(item)) == item for item in NAMES.values())
    assert not WEAK & NAMES.keys()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3des-sha256-modp2048", "'3des' is refused: too weak"),
        ("aes256-sha1-modp2048", "'sha1' is refused: too weak"),
        ("aes256gcm16-prfsha256-modp1024", "'modp1024' is refused: too weak"),
        ("chacha20poly1305-prfsha256-ecp256", "is not an algorithm of vcstack, which has aes256gcm16"),
        ("", "'' is not an algorithm"),
        ("aes256gcm16-sha384-ecp384", "leave out sha384 .for a PRF write prfsha384"),
        ("aes256gcm16-ecp384", "a PRF is missing"),
        ("aes256gcm16-prfsha384", "needs a DH group"),
        ("aes256gcm16-prfsha384-ecp384-none", "needs a DH group"),
        ("aes256-ecp384", "needs integrity"),
        ("prfsha384-ecp384", "a cipher is missing"),
        ("aes256gcm16-aes256-sha256-ecp384", "as two proposals"),
        ("aes256gcm16-prfsha384-ecp384-esn", "esn has no place in an IKE proposal"),
    ],
)
def test_ike_proposals_that_cannot_work(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        IkeProposal.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("null-sha256", "'null' is refused"),
        ("aes256-sha256", "ESP takes aes256gcm16"),
        ("aes256gcm16-sha256", "leave out sha256"),
        ("aes256gcm16-prfsha256", "prfsha256 has no place in an ESP proposal"),
        ("ecp384", "a cipher is missing"),
    ],
)
def test_esp_proposals_that_cannot_work(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        EspProposal.parse(text)


def test_an_offer_numbers_its_proposals_and_never_names_integrity_with_gcm() -> None:
    sa = offer(DEFAULT_IKE_PROPOSALS)
    assert [(item.number, item.protocol, item.spi) for item in sa.proposals] == [
        (1, ProtocolId.IKE, b""),
        (2, ProtocolId.IKE, b""),
    ]
    assert TransformType.INTEGRITY not in {item.type for item in sa.proposals[0].transforms}
    (esp,) = offer([EspProposal.parse("aes128gcm16-ecp256")], b"abcd").proposals
    assert esp.transforms == (
        Transform(TransformType.ENCRYPTION, 20, 128),
        Transform(TransformType.DH_GROUP, 19),
        Transform(TransformType.ESN, 0),
    )
    assert esp.spi == b"abcd"


def test_text_of_suites_and_lists() -> None:
    suite = IkeSuite(CBC_128, PrfId.HMAC_SHA2_256, IntegrityId.HMAC_SHA2_256_128, DhGroup.ECP_256)
    assert str(suite) == "aes128-sha256-prfsha256-ecp256"
    assert str(EspSuite(GCM_256, None, DhGroup.ECP_384, esn=True)) == "aes256gcm16-ecp384-esn"
    assert str(EspSuite(GCM_256, None, None, esn=False)) == "aes256gcm16"
    assert (
        describe([EspProposal.parse("aes256gcm16"), EspProposal.parse("aes128gcm16")])
        == "aes256gcm16, aes128gcm16"
    )


def test_names_of_what_only_others_have() -> None:
    assert transform_name(Transform(TransformType.ENCRYPTION, 28)) == "CHACHA20_POLY1305"
    assert transform_name(Transform(TransformType.ENCRYPTION, 12, 192)) == "AES_CBC/192"
    assert transform_name(Transform(TransformType.DH_GROUP, 2)) == "2 (MODP_1024)"
    assert transform_name(Transform(TransformType(9), 7)) == "7"
    assert transform_name(transform(DhGroup.ECP_384)) == "20 (ecp384)"

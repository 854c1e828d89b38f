from collections.abc import Sequence
from dataclasses import replace

import pytest

from vcstack.ikev2.algorithms import Encryption
from vcstack.ikev2.errors import Difference, InvalidSyntax, NoProposalChosen
from vcstack.ikev2.iana import (
    AttributeType,
    DhGroup,
    EncryptionId,
    IntegrityId,
    NotifyType,
    PrfId,
    ProtocolId,
    TransformType,
)
from vcstack.ikev2.proposal import DEFAULT_IKE_PROPOSALS, EspProposal, EspSuite, IkeProposal, IkeSuite, offer
from vcstack.ikev2.selection import accept_esp, accept_ike, select_esp, select_ike
from vcstack.ikev2.wire.sa import Attribute, Proposal, Sa, Transform

ENCR, PRF, INTEG, DH, ESN = (TransformType(number) for number in range(1, 6))
GCM_256 = Encryption(EncryptionId.AES_GCM_16, 256)
GCM = Transform(ENCR, 20, 256)
INTEG_NONE, DH_NONE = Transform(INTEG, 0), Transform(DH, 0)
SPI = b"\xc0\0\0\1"


def ike(*texts: str) -> list[IkeProposal]:
    return [IkeProposal.parse(text) for text in texts]


def esp(*texts: str) -> list[EspProposal]:
    return [EspProposal.parse(text) for text in texts]


def ike_sa(*transforms: Transform, number: int = 1, spi: bytes = b"") -> Sa:
    return Sa((Proposal(number, ProtocolId.IKE, spi, transforms),))


def esp_sa(*transforms: Transform, number: int = 1, spi: bytes = SPI) -> Sa:
    return Sa((Proposal(number, ProtocolId.ESP, spi, transforms),))


IKE_GCM = (GCM, Transform(PRF, 6), Transform(DH, 20))


@pytest.mark.parametrize("extra", [(), (INTEG_NONE,)])
def test_integrity_none_beside_gcm_is_taken_and_never_sent(extra: Sequence[Transform]) -> None:
    """Cisco's ASA leaves it out at first and spells it out on rekeys."""
    chosen = select_ike(ike_sa(*IKE_GCM, *extra), ike("aes256gcm16-prfsha384-ecp384"))
    assert chosen.suite == IkeSuite(GCM_256, PrfId.HMAC_SHA2_384, None, DhGroup.ECP_384)
    assert chosen.answer() == ike_sa(*IKE_GCM)
    child = select_esp(esp_sa(GCM, *extra, Transform(ESN, 0)), esp("aes256gcm16"), with_groups=True)
    assert child.suite == EspSuite(GCM_256, None, None, esn=False)
    assert child.answer(b"abcd") == esp_sa(GCM, Transform(ESN, 0), spi=b"abcd")
    assert accept_ike(ike_sa(*IKE_GCM, *extra), ike("aes256gcm16-prfsha384-ecp384")).suite == chosen.suite


def test_integrity_beside_gcm_is_a_mismatch_that_says_so() -> None:
    with pytest.raises(NoProposalChosen, match="integrity: we accept none, the peer offered sha256"):
        select_esp(
            esp_sa(GCM, Transform(INTEG, 12), Transform(ESN, 0)), esp("aes256gcm16"), with_groups=False
        )


def test_our_order_of_proposals_and_of_algorithms_decides() -> None:
    received = offer(
        ike("aes128-sha256-modp2048", "aes128gcm16-aes256gcm16-prfsha256-prfsha512-ecp256-ecp384")
    )
    chosen = select_ike(received, DEFAULT_IKE_PROPOSALS)
    assert str(chosen.suite) == "aes256gcm16-prfsha256-ecp384"
    (answered,) = chosen.answer().proposals
    assert answered.number == 2
    assert [item.type for item in answered.transforms] == [ENCR, PRF, DH]
    assert accept_ike(chosen.answer(), ike("aes128-sha256-modp2048", str(chosen.suite))).suite == chosen.suite


def test_a_cbc_suite_is_chosen_with_its_integrity() -> None:
    chosen = select_ike(offer(ike("aes256-sha512-modp4096")), DEFAULT_IKE_PROPOSALS)
    assert chosen.suite == IkeSuite(
        Encryption(EncryptionId.AES_CBC, 256),
        PrfId.HMAC_SHA2_512,
        IntegrityId.HMAC_SHA2_512_256,
        DhGroup.MODP_4096,
    )


def test_transforms_that_are_not_understood_are_passed_over() -> None:
    odd = replace(GCM, other_attributes=(Attribute(AttributeType(99), b"\0\1", is_tv=True),))
    tolerated = ike_sa(odd, Transform(ENCR, 20), Transform(ENCR, 9999), *IKE_GCM, Transform(DH, 35))
    assert select_ike(tolerated, DEFAULT_IKE_PROPOSALS).suite.encryption == GCM_256
    with pytest.raises(NoProposalChosen, match="encryption"):
        select_ike(ike_sa(odd, *IKE_GCM[1:]), DEFAULT_IKE_PROPOSALS)
    with pytest.raises(NoProposalChosen, match="transform type 6: we accept none, the peer offered 36"):
        select_ike(ike_sa(*IKE_GCM, Transform(TransformType(6), 36)), DEFAULT_IKE_PROPOSALS)


@pytest.mark.parametrize(
    ("received", "configured", "group"),
    [
        ((GCM, Transform(DH, 20)), "aes256gcm16-ecp384", DhGroup.ECP_384),
        ((GCM, Transform(DH, 20), DH_NONE), "aes256gcm16", None),
        ((GCM, DH_NONE), "aes256gcm16", None),
        ((GCM,), "aes256gcm16-ecp384-none", None),
        ((GCM, Transform(DH, 19), DH_NONE), "aes256gcm16-ecp384-none", None),
        ((GCM, Transform(DH, 19)), "aes256gcm16-ecp384", DhGroup.NONE),
        ((GCM,), "aes256gcm16-ecp384", DhGroup.NONE),
        ((GCM, Transform(DH, 20)), "aes256gcm16", DhGroup.NONE),
    ],
)
def test_pfs_of_a_rekey(received: tuple[Transform, ...], configured: str, group: DhGroup | None) -> None:
    """NONE as the expected group stands for a refusal here."""
    offered = esp_sa(*received, Transform(ESN, 0))
    if group == DhGroup.NONE:
        with pytest.raises(NoProposalChosen, match="DH group"):
            select_esp(offered, esp(configured), with_groups=True)
    else:
        assert select_esp(offered, esp(configured), with_groups=True).suite.group == group
    assert select_esp(offered, esp(configured), with_groups=False).suite.group is None


@pytest.mark.parametrize(
    ("offered", "configured", "esn"),
    [
        ((0,), "aes256gcm16", False),
        ((1, 0), "aes256gcm16", False),
        ((0, 1), "aes256gcm16-esn-noesn", True),
        ((), "aes256gcm16", False),
        ((1,), "aes256gcm16-esn", True),
        ((1,), "aes256gcm16", None),
        ((), "aes256gcm16-esn", None),
    ],
)
def test_extended_sequence_numbers(offered: tuple[int, ...], configured: str, esn: bool | None) -> None:
    received = esp_sa(GCM, *(Transform(ESN, number) for number in offered))
    if esn is None:
        with pytest.raises(NoProposalChosen, match="ESN"):
            select_esp(received, esp(configured), with_groups=True)
    else:
        assert select_esp(received, esp(configured), with_groups=True).suite.esn is esn


def test_a_mismatch_names_type_and_both_sides() -> None:
    received = offer(ike("aes256gcm16-prfsha384-modp2048", "aes256-sha256-modp2048"))
    with pytest.raises(NoProposalChosen) as caught:
        select_ike(received, ike("aes256gcm16-prfsha384-ecp256-ecp384"))
    assert str(caught.value) == "DH group: we accept 19 (ecp256), 20 (ecp384), the peer offered 14 (modp2048)"
    assert caught.value.notify == NotifyType.NO_PROPOSAL_CHOSEN
    assert caught.value.mismatch is not None
    assert caught.value.mismatch.differences == (
        Difference("DH group", ("19 (ecp256)", "20 (ecp384)"), ("14 (modp2048)",)),
    )


def test_a_mismatch_gathers_what_all_proposals_have() -> None:
    received = Sa(
        (
            Proposal(1, ProtocolId.IKE, b"", (Transform(ENCR, 3), *IKE_GCM[1:])),
            Proposal(2, ProtocolId.IKE, b"", (Transform(ENCR, 12, 192), *IKE_GCM[1:])),
        )
    )
    with pytest.raises(NoProposalChosen) as caught:
        select_ike(received, ike("aes256gcm16-prfsha384-ecp384"))
    assert str(caught.value) == "encryption: we accept aes256gcm16, the peer offered TRIPLE_DES, AES_CBC/192"


def test_a_mismatch_where_the_sets_overlap_tells_the_closest_pair() -> None:
    received = offer(ike("aes128gcm16-prfsha256-ecp256"))
    with pytest.raises(NoProposalChosen) as caught:
        select_ike(received, ike("aes256gcm16-prfsha256-ecp256", "aes128gcm16-prfsha256-ecp384"))
    assert str(caught.value) == "encryption: we accept aes256gcm16, the peer offered aes128gcm16"


def test_a_proposal_for_another_protocol() -> None:
    with pytest.raises(NoProposalChosen, match="we accept ESP, the peer offered AH"):
        select_esp(Sa((Proposal(1, ProtocolId.AH, SPI, ()),)), esp("aes256gcm16"), with_groups=False)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ike_sa(*IKE_GCM, number=2), "we offered proposals 1 to 1, the peer chose 2"),
        (ike_sa(*IKE_GCM, number=0), "the peer chose 0"),
        (
            ike_sa(Transform(ENCR, 20, 128), *IKE_GCM[1:]),
            "encryption: we offered aes256gcm16, the peer chose aes128gcm16",
        ),
        (ike_sa(*IKE_GCM[:2]), "DH group: we offered 20 .ecp384., the peer chose none"),
        (ike_sa(*IKE_GCM, Transform(ESN, 1)), "ESN: we offered none, the peer chose esn"),
        (ike_sa(*IKE_GCM[1:]), "encryption: we offered aes256gcm16, the peer chose none"),
    ],
)
def test_a_choice_that_was_not_offered(answer: Sa, reason: str) -> None:
    with pytest.raises(NoProposalChosen, match=reason):
        accept_ike(answer, ike("aes256gcm16-prfsha384-ecp384"))


@pytest.mark.parametrize(
    "answer",
    [
        Sa(ike_sa(*IKE_GCM).proposals * 2),
        esp_sa(GCM),
        ike_sa(GCM, Transform(ENCR, 20, 128), *IKE_GCM[1:]),
        ike_sa(*IKE_GCM, spi=bytes(range(8))),
    ],
)
def test_an_answer_that_is_no_choice(answer: Sa) -> None:
    with pytest.raises(InvalidSyntax):
        accept_ike(answer, ike("aes256gcm16-aes128gcm16-prfsha384-ecp384"))


def test_spis() -> None:
    configured = ike("aes256gcm16-prfsha384-ecp384")
    rekeyed = select_ike(offer(configured, bytes(range(1, 9))), configured, rekey=True)
    assert rekeyed.spi == bytes(range(1, 9))
    assert rekeyed.answer(bytes(range(9, 17))).proposals[0].spi == bytes(range(9, 17))
    for spi in (b"", bytes(8)):
        with pytest.raises(InvalidSyntax, match="SPI of 8 octets"):
            select_ike(offer(configured, spi), configured, rekey=True)
    for spi in (bytes(4), b"\0\0\0\xff"):
        with pytest.raises(InvalidSyntax, match="reserved"):
            select_esp(esp_sa(GCM, spi=spi), esp("aes256gcm16"), with_groups=True)
        with pytest.raises(InvalidSyntax, match="reserved"):
            accept_esp(esp_sa(GCM, spi=spi), esp("aes256gcm16"), with_groups=True)


def test_the_choice_for_a_child_is_checked_with_and_without_groups() -> None:
    offered = esp("aes256gcm16-ecp384")
    in_auth = accept_esp(esp_sa(GCM, Transform(ESN, 0)), offered, with_groups=False)
    assert (in_auth.suite.group, in_auth.spi) == (None, SPI)
    rekeyed = accept_esp(esp_sa(GCM, Transform(DH, 20), Transform(ESN, 0)), offered, with_groups=True)
    assert rekeyed.suite.group == DhGroup.ECP_384
    with pytest.raises(NoProposalChosen, match="DH group"):
        accept_esp(esp_sa(GCM, Transform(ESN, 0)), offered, with_groups=True)


def test_a_mismatch_stays_readable_whatever_the_peer_offers() -> None:
    many = (Transform(ENCR, number) for number in range(1000, 1100))
    with pytest.raises(NoProposalChosen, match=r"UNKNOWN_1015, 84 more$"):
        select_ike(ike_sa(*many, *IKE_GCM[1:]), ike("aes256gcm16-prfsha384-ecp384"))

"""Hypothesis strategies for every payload and header that the codec knows."""

from ipaddress import IPv4Address

from hypothesis import strategies as st

from vcstack.ikev2.iana import (
    AttributeType,
    AuthMethod,
    CertEncoding,
    DhGroup,
    ExchangeType,
    IdType,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
    TsType,
)
from vcstack.ikev2.wire.auth import Auth
from vcstack.ikev2.wire.certificate import Cert, CertReq
from vcstack.ikev2.wire.chain import Payload
from vcstack.ikev2.wire.delete import Delete
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.identity import IdI, IdR
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.opaque import OPAQUE_TYPES, Opaque, Unknown
from vcstack.ikev2.wire.sa import Attribute, Proposal, Sa, Transform
from vcstack.ikev2.wire.ts import OtherSelector, TsI, TsR
from vcstack.ikev2.wire.vendor import Vendor
from vcstack.wire.selector import TrafficSelector

U8 = st.integers(0, 255)
U16 = st.integers(0, 65535)
U32 = st.integers(0, 2**32 - 1)

attributes = st.one_of(
    st.builds(
        Attribute,
        st.integers(15, 0x7FFF).map(AttributeType),
        st.binary(min_size=2, max_size=2),
        st.just(True),
    ),
    st.builds(Attribute, st.integers(0, 0x7FFF).map(AttributeType), st.binary(max_size=20), st.just(False)),
)
transforms = st.builds(
    Transform,
    U8.map(TransformType),
    U16,
    st.none() | U16,
    st.lists(attributes, max_size=2).map(tuple),
)


@st.composite
def proposals(draw: st.DrawFn) -> Proposal:
    protocol, spi_length = draw(
        st.sampled_from([(ProtocolId.IKE, 0), (ProtocolId.IKE, 8), (ProtocolId.ESP, 4), (ProtocolId(9), 3)])
    )
    spi = draw(st.binary(min_size=spi_length, max_size=spi_length))
    return Proposal(draw(U8), protocol, spi, tuple(draw(st.lists(transforms, max_size=6))))


@st.composite
def selectors(draw: st.DrawFn) -> TrafficSelector:
    start, end = sorted((draw(U32), draw(U32)))
    first, last = sorted((draw(U16), draw(U16)))
    return TrafficSelector(
        protocol=draw(U8), start_port=first, end_port=last, start=IPv4Address(start), end=IPv4Address(end)
    )


other_selectors = st.builds(OtherSelector, st.integers(8, 255).map(TsType), U8, st.binary(max_size=40))
selector_lists = st.lists(selectors(), min_size=1, max_size=4).map(tuple)
names = st.binary(min_size=1, max_size=64)
spis4 = st.binary(min_size=4, max_size=4)
plain_notify_types = st.sampled_from(
    [
        *(NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.TS_UNACCEPTABLE, NotifyType.INITIAL_CONTACT),
        *(NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED, NotifyType(40999), NotifyType(8191)),
    ]
)

payloads: st.SearchStrategy[Payload] = st.one_of(
    st.builds(Sa, st.lists(proposals(), min_size=1, max_size=4).map(tuple)),
    st.builds(Ke, U16.map(DhGroup), st.binary(min_size=1, max_size=300)),
    st.builds(Nonce, st.binary(min_size=16, max_size=256)),
    st.builds(IdI, st.just(IdType.FQDN), names, st.binary(min_size=3, max_size=3)),
    st.builds(IdR, st.just(IdType.KEY_ID), names),
    st.builds(IdR, st.just(IdType.IPV4_ADDR), spis4),
    st.builds(Auth, U8.map(AuthMethod), names),
    st.builds(Notify, plain_notify_types, U8.map(ProtocolId), st.binary(max_size=8), st.binary(max_size=64)),
    st.builds(Notify, st.just(NotifyType.REKEY_SA), st.just(ProtocolId.ESP), spis4),
    st.builds(Delete, st.just(ProtocolId.IKE)),
    st.builds(Delete, st.just(ProtocolId.ESP), st.lists(spis4, max_size=5).map(tuple)),
    st.builds(Vendor, st.binary(max_size=40)),
    st.builds(TsI, selector_lists),
    st.builds(TsR, selector_lists, st.lists(other_selectors, max_size=2).map(tuple)),
    st.builds(Cert, U8.map(CertEncoding), st.binary(max_size=40)),
    st.builds(CertReq, U8.map(CertEncoding), st.binary(max_size=40)),
    st.builds(Opaque, st.sampled_from(sorted(OPAQUE_TYPES)), st.binary(max_size=40)),
    st.builds(Unknown, st.integers(54, 255).map(PayloadType), st.just(False), st.binary(max_size=40)),
)
payload_lists = st.lists(payloads, max_size=8).map(tuple)

spis8 = st.binary(min_size=8, max_size=8).filter(any)
headers = st.builds(Header, spis8, spis8, U8.map(ExchangeType), st.booleans(), st.booleans(), U32)

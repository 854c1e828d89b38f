"""The network on paper: every cable joins two addresses of one subnet, and nothing overlaps."""

from itertools import combinations

import pytest

from vcstack.lab.plan import CPE_TRANSPORT, DATA_CENTRES, LAN, REGION, TRANSPORT, TUNNELS, Plan, topology


@pytest.mark.parametrize("nat", [False, True])
def test_every_device_is_one_end_of_one_cable(nat: bool) -> None:
    network = topology(nat=nat)
    devices = [(node.name, device) for node in network.nodes for device in node.addresses]
    ends = [
        end
        for link in network.links
        for end in ((link.left, link.left_device), (link.right, link.right_device))
    ]
    assert sorted(devices) == sorted(ends)
    assert len(set(ends)) == len(ends)


@pytest.mark.parametrize("nat", [False, True])
def test_both_ends_of_a_cable_are_in_one_subnet(nat: bool) -> None:
    network = topology(nat=nat)
    nodes = {node.name: node for node in network.nodes}
    for link in network.links:
        left = nodes[link.left].addresses[link.left_device]
        right = nodes[link.right].addresses[link.right_device]
        assert left.network == right.network
        assert left.ip != right.ip


@pytest.mark.parametrize("nat", [False, True])
def test_every_gateway_is_a_neighbour(nat: bool) -> None:
    for node in topology(nat=nat).nodes:
        for way in node.routes:
            assert any(way.via in address.network for address in node.addresses.values()), (node.name, way)


@pytest.mark.parametrize("nat", [False, True])
def test_subnets_of_different_cables_do_not_overlap(nat: bool) -> None:
    network = topology(nat=nat)
    nodes = {node.name: node for node in network.nodes}
    subnets = [nodes[link.left].addresses[link.left_device].network for link in network.links]
    for one, other in combinations(subnets, 2):
        assert not one.overlaps(other)


def test_only_a_data_centre_has_addresses_of_the_region() -> None:
    inside = {
        node.name
        for node in topology(nat=True).nodes
        if any(address.ip in REGION for address in node.addresses.values())
    }
    assert inside == {"dc-a", "dc-b", "host-a", "host-b"}


def test_the_sniffer_knows_every_inner_network() -> None:
    assert all(centre.prefix.subnet_of(REGION) for centre in DATA_CENTRES)
    assert all(centre.tunnel.network.subnet_of(TUNNELS) for centre in DATA_CENTRES)
    assert all(
        address in TRANSPORT for address in (CPE_TRANSPORT, *(each.transport for each in DATA_CENTRES))
    )
    outer = [address for node in topology(nat=True).nodes for address in node.addresses.values()]
    public = [address for address in outer if not address.network.is_private]
    assert not any(address.ip in each for address in public for each in (REGION, TUNNELS, TRANSPORT, LAN))


def test_names_carry_the_number_of_the_lab() -> None:
    assert Plan(4711).namespace("dc-a") == "vclab-4711-dc-a"


def test_behind_a_nat_the_cpe_starts_from_its_private_address() -> None:
    assert str(Plan(1).cpe_address) == "198.51.100.1"
    assert str(Plan(1, nat=True).cpe_address) == "192.168.100.2"

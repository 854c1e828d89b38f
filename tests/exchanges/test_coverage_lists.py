"""Which test stands for which scenario of strongSwan's exchange suites, and for which problem of the field.

The lists are CONFORMANCE's; a test that is renamed or removed is missed here. Scenarios of several key
exchanges (RFC 9370) have no place in them.
"""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHILD, IKE, MORE, DELETE = "test_child_rekey", "test_ike_rekey", "test_more_collisions", "test_delete"

STRONGSWAN = {
    "child_rekey": {
        "regular": (CHILD, "test_regular"),
        "regular_ke_invalid": (CHILD, "test_ke_invalid"),
        "responder_ignore_soft_expire": (CHILD, "test_responder_ignores_soft_expiry_of_a_rekeyed_child"),
        "responder_handle_hard_expire": (CHILD, "test_responder_handles_hard_expiry_of_a_rekeyed_child"),
        "responder_delete": (MORE, "test_child_rekey_responder_delete"),
        "responder_lost_sa": (CHILD, "test_responder_lost_the_child"),
        "responder_incorrect_delete": (MORE, "test_child_rekey_responder_incorrect_delete"),
        "delete_timeout": (MORE, "test_child_rekey_delete_timeout"),
        "collision": (CHILD, "test_collision"),
        "collision_delayed_response": (CHILD, "test_collision_delayed_response"),
        "collision_delayed_response_delete": (CHILD, "test_collision_delayed_response_and_delete"),
        "collision_delayed_request": (CHILD, "test_collision_delayed_request"),
        "collision_delayed_request_more": (CHILD, "test_collision_delayed_request_more"),
        "collision_delayed_request_more_delete": (
            MORE,
            "test_child_rekey_collision_delayed_request_more_delete",
        ),
        "collision_ke_invalid": (CHILD, "test_collision_ke_invalid"),
        "collision_ke_invalid_delayed_retry": (CHILD, "test_collision_ke_invalid_delayed_retry"),
        "collision_responder_incorrect_delete": (
            MORE,
            "test_child_rekey_collision_responder_incorrect_delete",
        ),
        "collision_delete": (CHILD, "test_collision_delete"),
        "collision_delete_drop_delete": (CHILD, "test_collision_delete_drop_delete"),
        "collision_delete_drop_rekey": (CHILD, "test_collision_delete_drop_rekey"),
        "collision_delete_delayed_response": (MORE, "test_child_rekey_collision_delete_delayed_response"),
        "collision_ike_rekey": (CHILD, "test_collision_ike_rekey"),
        "collision_ike_delete": (CHILD, "test_collision_ike_delete"),
    },
    "ike_rekey": {
        "regular": (IKE, "test_regular"),
        "ke_invalid": (IKE, "test_ke_invalid"),
        "collision": (IKE, "test_collision"),
        "collision_ke_invalid": (IKE, "test_collision_ke_invalid"),
        "collision_ke_invalid_delayed_retry": (MORE, "test_ike_rekey_collision_ke_invalid_delayed_retry"),
        "collision_delayed_response": (IKE, "test_collision_delayed_response"),
        "collision_dropped_request": (IKE, "test_collision_dropped_request"),
        "collision_delayed_request": (IKE, "test_collision_delayed_request"),
        "collision_delayed_request_and_delete": (IKE, "test_collision_delayed_request_and_delete"),
        "collision_delete": (IKE, "test_collision_delete"),
        "collision_delete_drop_delete": (IKE, "test_collision_delete_drop_delete"),
    },
    "child_delete": {
        "regular": (DELETE, "test_child_delete_regular"),
        "collision": (DELETE, "test_child_delete_collision"),
        "collision_drop": (DELETE, "test_child_delete_collision_drop"),
        "collision_ike_rekey": (DELETE, "test_child_delete_collision_ike_rekey"),
        "collision_ike_delete": (DELETE, "test_child_delete_collision_ike_delete"),
    },
    "ike_delete": {
        "regular": (DELETE, "test_ike_delete_regular"),
        "collision": (DELETE, "test_ike_delete_collision"),
    },
    "child_create": {
        "duplicate": (MORE, "test_child_create_duplicate"),
        "collision_ike_rekey": (MORE, "test_child_create_collision_ike_rekey"),
    },
}

FIELD = {
    "libreswan issue 1244": ("test_field_problems", "test_integrity_none_only_when_rekeying"),
    "opnsense issue 8631": ("test_early_pfs", "test_mismatch_keeps_the_old_child"),
    "libreswan 1234": (CHILD, "test_pfs_mismatch_keeps_the_old_child_and_says_why"),
    "strongSwan issue 2477": (CHILD, "test_collision_with_failing_own_request_uses_the_peers_child"),
    "strongSwan issue 1896": ("test_field_problems", "test_collision_and_a_lost_packet"),
    "strongSwan issue 1458": (CHILD, "test_collision_delayed_response_and_delete"),
    "strongSwan issue 2945": (CHILD, "test_rekeying_twice_before_the_delete"),
    "strongSwan issue 1150": ("test_field_problems", "test_two_children_of_one_policy"),
    "strongSwan issue 309": (IKE, "test_regular"),
    "libreswan issue 801": ("test_ike_auth", "test_child_refused_leaves_the_ike_sa_up_and_is_retried"),
    "pfSense PR 118": (
        "test_field_problems",
        "test_gre_between_two_hosts_is_what_we_ask_for_and_all_that_we_give",
    ),
    "libreswan issue 316": ("test_ike_auth", "test_asymmetric_keys"),
    "Openswan issue 195": (DELETE, "test_the_responders_first_request_has_message_id_zero"),
    "libreswan issue 503": ("test_ike_auth", "test_wrong_identity_names_both"),
    "libreswan issue 1492": ("test_ike_sa_init", "test_nat_rebinding_is_followed"),
    "libreswan issue 2012": ("test_field_problems", "test_ike_and_esp_from_different_ports"),
    "strongSwan issue 861": ("test_field_problems", "test_nat_detection_with_a_wrong_address"),
    "sec-cfg-ikev2-frag": ("test_fragmentation", "test_a_cisco_fragmentation_vendor_id_is_ignored"),
    "strongSwan PR 180, CSCvv05031": ("test_field_problems", "test_no_vendor_id_of_flexvpn"),
    "libreswan issues 543, 624": ("test_field_problems", "test_death_is_the_end_of_retransmissions"),
    "libreswan issue 524": (DELETE, "test_liveness_only_when_idle_and_one_at_a_time"),
    "libreswan issue 405": ("test_field_problems", "test_lifetimes_are_each_ends_own"),
    "VPP-1910, VyOS PR 5284": ("test_esn", "test_negotiation"),
    "libreswan issue 497": ("test_field_problems", "test_a_peer_that_ignores_initial_contact"),
}
"""Of IKE; those of ESP, GRE and BGP stand with their packages."""


def docstring_of(module: str, function: str) -> str:
    """What a test says of itself; the test fails when it does not exist."""
    tree = ast.parse((HERE / f"{module}.py").read_text("utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    assert len(found) == 1, f"{module} has no {function}"
    return ast.get_docstring(found[0]) or ""


@pytest.mark.parametrize("suite", STRONGSWAN)
def test_every_scenario_of_strongswan_has_a_test(suite: str) -> None:
    for scenario, place in STRONGSWAN[suite].items():
        assert docstring_of(*place), scenario


def test_every_problem_of_the_field_has_a_test_that_names_its_source() -> None:
    for source, place in FIELD.items():
        assert source in " ".join(docstring_of(*place).split()), place

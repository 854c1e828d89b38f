"""`vcstack show ikev2`: what `show crypto ikev2 sa detailed` and `show crypto ikev2 stats exchange` tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vcstack.cli.views.page import Field
from vcstack.cli.views.words import clock, joined, yes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcstack.cli.views.page import Page

_EXCHANGES = ("IKE_SA_INIT", "IKE_AUTH", "CREATE_CHILD_SA", "INFORMATIONAL")
_COLUMNS = ("tx request", "rx response", "rx request", "tx response")
_NO_SPI = "0" * 16


def render(answer: Mapping[str, Mapping[str, Any]], page: Page) -> None:
    """Fill the page with the answer to `show ikev2`."""
    for name, endpoint in answer.items():
        page.title(name, endpoint)
        page.fields(_ENDPOINT, endpoint)
        for sa in endpoint["ike_sas"]:
            page.gap()
            page.heading(f"IKE SA {sa['spi_i']} / {_responder(sa)}", sa["state"])
            page.fields(_SA, sa)
        _statistics(page, endpoint["counters"])


def _responder(sa: Mapping[str, Any]) -> str:
    return "unknown" if sa["spi_r"] == _NO_SPI else str(sa["spi_r"])


def _last_error(endpoint: Mapping[str, Any]) -> str:
    error = endpoint["last_error"]
    if not error or error == endpoint["reason"]:
        return ""
    return f"{error}, {clock(endpoint['last_error_age_s'])} ago"


def _pfs(endpoint: Mapping[str, Any]) -> str:
    """What rekeyings have shown, unless that is the last error anyway."""
    verdict = endpoint.get("pfs") or ""
    return "" if verdict == endpoint["last_error"] else str(verdict).removeprefix("PFS ")


def _attempts(endpoint: Mapping[str, Any]) -> str:
    failed, age, retry = endpoint["attempts"], endpoint["last_error_age_s"], endpoint["next_retry_in_s"]
    return joined(
        f"{failed:,} failed in a row" if failed else None,
        f"the last {clock(age)} ago" if failed and age is not None else None,
        None if retry is None else f"next one in {clock(retry)}",
    )


def _negotiated(sa: Mapping[str, Any]) -> bool:
    return sa["proposal"] is not None


def _suite(sa: Mapping[str, Any]) -> str:
    if not _negotiated(sa):
        return "not negotiated yet"
    prf = sa["prf"].removeprefix("prf")
    return joined(
        f"{sa['encryption']}, keysize {sa['key_bits']}, PRF {prf}, hash {sa['integrity'] or 'none'}",
        f"DH group {sa['dh_group']}",
    )


def _authentication(sa: Mapping[str, Any]) -> str:
    theirs = sa["auth_remote"] or "not yet"
    return joined(
        f"sign {sa['auth_local']}, verify {theirs}", "with a PPK" if sa.get("ppk") else None, by="; "
    )


def _life(sa: Mapping[str, Any]) -> str:
    due = (("rekey in", sa["rekey_in_s"]), ("expires in", sa["expires_in_s"]))
    limit = sa["peer_auth_lifetime_s"]
    return joined(
        clock(sa["age_s"]),
        *(f"{word} {clock(seconds)}" for word, seconds in due if seconds is not None),
        None if limit is None else f"the peer wants reauthentication every {clock(limit)}",
    )


def _messages(sa: Mapping[str, Any]) -> str:
    return (
        f"next request {sa['next_request_id']}, expected request {sa['expected_request_id']}, "
        f"window of the peer {sa['peer_window']}"
    )


def _pending(sa: Mapping[str, Any]) -> str:
    queued = f"queued {', '.join(sa['queued'])}" if sa["queued"] else None
    return joined(sa["outstanding"] and f"{sa['outstanding']} unanswered", queued, by="; ")


def _nat(sa: Mapping[str, Any]) -> str:
    if not _negotiated(sa):
        return ""
    behind = [end for end, found in (("this end", sa["nat_local"]), ("the peer", sa["nat_remote"])) if found]
    found = f"{' and '.join(behind)} behind a NAT" if behind else "not detected"
    return f"{found}; ESP in UDP: {yes(sa['udp_encapsulation'])}"


def _liveness(sa: Mapping[str, Any]) -> str:
    if not _negotiated(sa):
        return ""
    return f"DPD after {sa['dpd_interval_s']:g} s, peer heard {clock(sa['silent_s'])} ago"


def _fragmentation(sa: Mapping[str, Any]) -> str:
    if not _negotiated(sa):
        return ""
    return "negotiated" if sa["fragmentation"] else "not negotiated"


def _end(side: str) -> Field:
    def text(sa: Mapping[str, Any]) -> str:
        path, identity = sa["path"], sa[f"{side}_id"] or "not known yet"
        return f"{path[side]} port {path[f'{side}_port']}, id {identity}"

    return Field(side, text)


_ENDPOINT = (
    Field("last error", _last_error),
    Field("PFS", _pfs),
    Field("attempts", _attempts),
    Field("peer", lambda endpoint: "" if endpoint["ike_sas"] else endpoint["remote_address"] or "any"),
)
_SA = (
    _end("local"),
    _end("remote"),
    Field("role", lambda sa: "initiator" if sa["is_initiator"] else "responder"),
    Field("encryption", _suite),
    Field("proposal", lambda sa: sa["proposal"] or ""),
    Field("auth", _authentication),
    Field("active time", _life),
    Field("message ids", _messages),
    Field("pending", _pending),
    Field("liveness", _liveness),
    Field("NAT", _nat),
    Field("fragmentation", _fragmentation),
    Field("vendor ids", lambda sa: ", ".join(sa["vendor_ids"])),
)


def _statistics(page: Page, counters: Mapping[str, int]) -> None:
    rows = [
        (exchange, [counters.get(f"{column} {exchange}", 0) for column in _COLUMNS])
        for exchange in _EXCHANGES
    ]
    shown = [(exchange, *map(str, counts)) for exchange, counts in rows if page.everything or any(counts)]
    in_table = {f"{column} {exchange}" for column in _COLUMNS for exchange in _EXCHANGES}
    if shown:
        page.gap()
        page.table(("exchange", *(f">{column}" for column in _COLUMNS)), shown)
    others = [f"{name} {count:,}" for name, count in counters.items() if name not in in_table]
    if others:
        page.field("counted", ", ".join(others))

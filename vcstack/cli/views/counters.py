"""Counters of a tunnel: what was dropped, by reason, and what else is worth a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.cli.views.words import joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcstack.cli.views.page import Page

_DROP = "_drop_"


def drops(counters: Mapping[str, int], *origins: str) -> str:
    """The reasons for which packets were dropped, all or those of some origins; empty where there are none.

    An origin is what a counter's name starts with: outbound, inbound, esp, gre, fragment.
    """
    found = []
    for name, count in counters.items():
        origin, _, reason = name.partition(_DROP)
        if reason and count and (not origins or origin in origins):
            found.append(f"{origin} {reason.replace('_', ' ')} {count:,}")
    return ", ".join(found)


def nonzero(counters: Mapping[str, int], words: Mapping[str, str]) -> str:
    """Counters in the words of a table, without those that are zero."""
    return joined(*(f"{word} {counters[name]:,}" for name, word in words.items() if counters.get(name)))


def every(page: Page, counters: Mapping[str, int]) -> None:
    """All counters under their own names, where the page asks for everything."""
    if page.everything:
        page.gap()
        page.table(("counter", ">value"), [(name, f"{count:,}") for name, count in counters.items()])

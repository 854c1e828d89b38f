"""All pairs: few combinations of many factors, in which any two values of two factors meet at least once."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Case = dict[str, str]
Pair = tuple[tuple[str, str], tuple[str, str]]
_CANDIDATES = 40


def pairs_of(case: Mapping[str, str]) -> Iterator[Pair]:
    """The pairs of values that a case has."""
    return itertools.combinations(case.items(), 2)


def pairwise(factors: Mapping[str, Sequence[str]], seed: int = 1) -> list[Case]:
    """The same cases for the same factors and seed; greedy, hence not the fewest possible."""
    rng = random.Random(seed)
    products = (
        itertools.product(*([(name, value) for value in factors[name]] for name in two))
        for two in itertools.combinations(factors, 2)
    )
    missing: set[Pair] = {pair for product in products for pair in product}  # type: ignore[misc]
    cases = []
    while missing:
        start = min(missing)
        candidates = [_complete(dict(start), factors, missing, rng) for _ in range(_CANDIDATES)]
        best = max(candidates, key=lambda case: sum(pair in missing for pair in pairs_of(case)))
        missing.difference_update(pairs_of(best))
        cases.append(best)
    return cases


def _complete(
    chosen: Case, factors: Mapping[str, Sequence[str]], missing: set[Pair], rng: random.Random
) -> Case:
    """Give the other factors, in random order, the values that meet most of what has not met yet."""
    for name in rng.sample(list(factors), len(factors)):
        if name in chosen:
            continue
        values = rng.sample(factors[name], len(factors[name]))
        chosen[name] = max(
            values,
            key=lambda value: sum(
                pair in missing for pair in pairs_of(_ordered({**chosen, name: value}, factors))
            ),
        )
    return _ordered(chosen, factors)


def _ordered(case: Case, factors: Mapping[str, Sequence[str]]) -> Case:
    return {name: case[name] for name in factors if name in case}

"""`vcstack show routes` as text."""

from __future__ import annotations

from tests.cli import samples
from tests.cli.views.printing import NARROW, printed
from vcstack.cli.views import routes

TABLE = """\
     prefix        through      interface  metric  table
  *  10.77.0.0/24  dc-a         vc-dc-a       196  main
     10.77.0.0/24  unreachable  -            4196  main
  *  10.77.0.0/25  dc-a         vc-dc-a       196  177
"""


def test_the_used_route_of_each_prefix_is_marked() -> None:
    assert printed(routes.render, samples.ROUTES, width=NARROW) == TABLE


def test_a_region_without_a_tunnel_is_unreachable() -> None:
    assert "*  10.77.0.0/24  unreachable" in printed(routes.render, samples.CLOSED)


def test_no_routes_at_all() -> None:
    assert printed(routes.render, []) == "no routes installed\n"

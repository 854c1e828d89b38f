"""No tunnel: the veth alone, with all its offloads. It says what the generators and the machine can do."""

from benchmarks.netns.contenders import Contender, await_path
from benchmarks.netns.network import FAR_NETWORKS, NEAR_NETWORK, OUTER, Field


class Veth(Contender):
    """The cable."""

    name = "plain veth"

    def missing(self) -> str | None:
        return None

    def start(self, field: Field) -> dict[str, float]:
        near, far = OUTER[0]
        field.near.ip(f"route add {FAR_NETWORKS[0]} via {far}")
        field.far.ip(f"route add {NEAR_NETWORK} via {near}")
        await_path(field)
        return {}

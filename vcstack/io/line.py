"""The GRE line of a forwarder: its tunnel, keepalives both ways, and fragments that wait for the others."""

from collections.abc import Callable

from vcstack.dataplane.coalesce import Write
from vcstack.dataplane.counters import Counters
from vcstack.dataplane.inbound import Inbound
from vcstack.dataplane.outbound import OutboundConfig
from vcstack.esp.sad import Sad
from vcstack.gre.keepalive import KeepaliveConfig, Prober
from vcstack.gre.reassembly import Reassembler
from vcstack.gre.reflector import Permits, Reflector
from vcstack.gre.tunnel import Tunnel, TunnelConfig
from vcstack.io.channel import ForwarderConfig
from vcstack.wire.deadline import Deadline


class Line:
    """Made anew when control changes the ends or the keepalives of the tunnel."""

    def __init__(self, config: ForwarderConfig, permits: Permits) -> None:
        ends = TunnelConfig(
            local=config.gre_local,
            remote=config.gre_remote,
            key=config.gre_key,
            copy_df=config.path_mtu_discovery,
            copy_dscp=config.copy_dscp,
            interface_local=config.interface_local,
            interface_remote=config.interface_remote,
        )
        keepalive = KeepaliveConfig(
            enabled=config.keepalive,
            interval_s=config.keepalive_interval_s,
            retries=config.keepalive_retries,
            damping=config.keepalive_damping,
        )
        self.tunnel = Tunnel(ends)
        self.prober = Prober(keepalive, ends)
        self.reflector = Reflector(keepalive, ends, permits)
        self.reassembler = Reassembler()

    def outbound_config(self, config: ForwarderConfig, mtu: int) -> OutboundConfig:
        """What the way out of this line needs to know; `mtu` is that of inner packets."""
        router = config.interface_remote or config.gre_remote
        return OutboundConfig(tunnel=self.tunnel.config, mtu=mtu, mss=config.mss, router=router)

    def inbound(
        self, config: ForwarderConfig, sad: Sad, counters: Counters, deliver: Callable[[Write], bool]
    ) -> Inbound:
        """The way in."""
        return Inbound(
            self.tunnel,
            self.reflector,
            sad,
            counters,
            self.reassembler,
            mss=config.mss,
            deliver=deliver,
        )

    def handle_timeout(self, now: float) -> None:
        """Probe the peer, miss its answers, forget fragments: whatever is due."""
        self.prober.handle_timeout(now)
        self.reassembler.handle_timeout(now)

    def next_timeout(self) -> Deadline | None:
        """Return when `handle_timeout` has something to do."""
        deadlines = (self.prober.next_timeout(), self.reassembler.next_timeout())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

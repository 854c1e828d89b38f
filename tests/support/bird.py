"""BIRD 2 as a BGP peer in a network namespace: one session, its routes in a kernel table of their own."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.netns import Namespace, require_program, wait_until

TABLE = 77

CONFIGURATION = """
log "{folder}/bird.log" all;
router id {s.local};
graceful restart wait 5;
protocol device {{}}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; kernel table {table}; }}
protocol static adv {{ ipv4; {routes} }}
protocol bgp peer {{
  local {s.local} as {s.local_as};
  neighbor {s.remote} as {s.remote_as};
  {password}
  {passive}
  hold time {s.hold_time_s};
  connect retry time 2;
  connect delay time 1;
  error wait time 1, 4;
  graceful restart {graceful};
  ipv4 {{
    import keep filtered;
    import filter {{ if net ~ [ {s.accept} ] then accept; reject; }};
    export where proto = "adv";
    next hop self;
  }};
}}
"""


@dataclass(frozen=True)
class Session:
    """The values of one eBGP session as BIRD sees it."""

    local: str
    remote: str
    local_as: int
    remote_as: int
    announce: tuple[str, ...]
    accept: str = "0.0.0.0/0"
    password: str | None = None
    hold_time_s: int = 30
    passive: bool = False
    restarts: bool = False
    """Offers to restart gracefully itself; it always helps a peer that does."""


@dataclass
class Bird:
    """A BIRD daemon that runs in `namespace`, with its files in `folder`."""

    namespace: Namespace
    folder: Path

    def start(self, session: Session, *options: str) -> None:
        """Write the configuration, start the daemon, and return when it answers."""
        bird = require_program("bird")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure(session)
        self._process = self.namespace.spawn(
            bird,
            *options,
            "-f",
            "-c",
            f"{self.folder}/bird.conf",
            "-s",
            f"{self.folder}/bird.ctl",
            "-P",
            f"{self.folder}/bird.pid",
        )
        wait_until((self.folder / "bird.ctl").is_socket, 10, "BIRD's control socket")

    def kill(self) -> None:
        """End the daemon without a word; the kernel closes its connections."""
        self._process.kill()
        self._process.wait()
        (self.folder / "bird.ctl").unlink()

    def configure(self, session: Session) -> None:
        """Write the configuration file."""
        text = CONFIGURATION.format(
            folder=self.folder,
            s=session,
            table=TABLE,
            routes="".join(f"route {prefix} blackhole; " for prefix in session.announce),
            password=f'password "{session.password}";' if session.password else "",
            graceful="on" if session.restarts else "aware",
            passive="passive;" if session.passive else "",
        )
        (self.folder / "bird.conf").write_text(text)

    def reconfigure(self, session: Session) -> None:
        """Change the running daemon's session."""
        self.configure(session)
        self.birdc("configure")

    def birdc(self, *words: str) -> str:
        """What `birdc` prints."""
        return self.namespace.run(require_program("birdc"), "-s", f"{self.folder}/bird.ctl", *words).stdout

    def established(self) -> bool:
        """Whether the session stands."""
        return "Established" in self.birdc("show", "protocols", "peer")

    def learned(self) -> set[str]:
        """The prefixes accepted from the peer."""
        return set(
            re.findall(r"^([0-9.]+/\d+)\s", self.birdc("show", "route", "protocol", "peer"), re.MULTILINE)
        )

    def refused(self) -> set[str]:
        """The prefixes that came from the peer and were filtered."""
        words = ("show", "route", "filtered", "protocol", "peer")
        return set(re.findall(r"^([0-9.]+/\d+)\s", self.birdc(*words), re.MULTILINE))

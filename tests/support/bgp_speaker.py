"""A speaker for tests, run inside a namespace: one Peer with its driver, events and snapshots as JSON lines.

    python -m tests.support.bgp_speaker '{"local_as": 64512, ...}'

Lines on standard input are commands: `snapshot`, `stop WORDS`, `start`, `refresh`, `reset WORDS`,
`password WORD`, `suspend`, `quit`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, is_dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from vcstack.bgp.config import Announcement, Graceful, SessionConfig
from vcstack.bgp.peer import Peer
from vcstack.bgp.policy import permit
from vcstack.io.entropy import entropy
from vcstack.io.tcp import BgpDriver
from vcstack.wire.secret import Secret


def configuration(values: dict[str, Any]) -> SessionConfig:
    announce = [IPv4Network(prefix) for prefix in values.get("announce", [])]
    return SessionConfig(
        local_as=values["local_as"],
        remote_as=values["remote_as"],
        router_id=IPv4Address(values["local"]),
        local_address=IPv4Address(values["local"]),
        remote_address=IPv4Address(values["remote"]),
        policy_in=permit("accept", [IPv4Network(prefix) for prefix in values.get("accept", [])]),
        policy_out=permit("announce", announce),
        announce=tuple(Announcement(prefix) for prefix in announce),
        hold_time_s=values.get("hold_time_s", 30),
        passive=values.get("passive", False),
        graceful=Graceful(**values["graceful"]) if "graceful" in values else None,
        enhanced_refresh=values.get("enhanced_refresh", False),
        connect_retry_s=values.get("connect_retry_s", 2.0),
        idle_hold_floor_s=values.get("idle_hold_floor_s", 1.0),
        idle_hold_ceiling_s=2.0,
    )


def say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values, default=_plain) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__} | asdict(value)
    return value.value if isinstance(value, Enum) else str(value)


async def main(values: dict[str, Any]) -> None:
    peer = Peer(configuration(values), entropy)
    password = values.get("password")
    driver = BgpDriver(
        peer,
        peer.config.local_address,
        peer.config.remote_address,
        values.get("interface"),
        Secret(password.encode()) if password else None,
        on_event=lambda event: say(event=type(event).__name__, text=str(event)),
        failed=lambda error: say(bug=repr(error)),
        tunnel_mtu=values.get("tunnel_mtu"),
        gtsm=values.get("gtsm", False),
    )
    driver.start()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().strip():
        _obey(driver, *line.split(" ", 1))
        if line == "quit":
            break
    driver.stop("the test is over")
    await driver.drained()


def _obey(driver: BgpDriver, command: str, words: str = "") -> None:
    if command == "snapshot":
        say(
            snapshot=driver.peer.snapshot(),
            tcp=driver.snapshot(),
            reset=str(driver.peer.snapshot().last_reset),
        )
    elif command == "start":
        driver.start()
    elif command == "stop":
        driver.stop(words)
    elif command == "refresh":
        driver.call(driver.peer.refresh)
    elif command == "reset":
        driver.call(lambda now: driver.peer.reset(now, words))
    elif command == "password":
        driver.set_password(Secret(words.encode()))
    elif command == "suspend":
        driver.suspend()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))

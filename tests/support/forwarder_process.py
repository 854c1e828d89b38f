"""A worker with the least of a control process around it, for one end of a tunnel in a namespace.

Run as `python -m tests.support.forwarder_process SETTINGS`, where SETTINGS is a JSON object. It opens the
TUN, starts the worker, installs the SAs, prints "ready", and waits for SIGTERM; then it prints the counters
and the reports it saw as one JSON object on a line and leaves.
"""

import json
import os
import signal
import subprocess
import sys
from ipaddress import IPv4Address

from tests.support.forwarding import KEYS, forwarder_config, sa_parameters
from vcstack.io import channel
from vcstack.io.shared import create_counters, map_counters
from vcstack.io.tun import DEFAULT_OFFLOADS, Tun


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    settings = json.loads(sys.argv[1])
    local, remote = (IPv4Address(settings[name]) for name in ("local", "remote"))
    tun = Tun.open(settings["tun"], settings.get("tun_offloads", DEFAULT_OFFLOADS))
    subprocess.run(["ip", "addr", "add", settings["address"], "dev", tun.name], check=True)
    subprocess.run(
        ["ip", "link", "set", tun.name, "up", "mtu", str(settings["mtu"]), "txqueuelen", "2000"], check=True
    )
    counters_descriptor = create_counters(tun.name)
    counters = map_counters(counters_descriptor, writable=False)
    control, theirs = channel.pair()
    descriptors = (theirs.fileno(), tun.fileno(), counters_descriptor)
    arguments = zip(("--channel-fd", "--tun-fd", "--counters-fd"), map(str, descriptors), strict=True)
    worker = subprocess.Popen(
        [sys.executable, "-m", "vcstack.io.worker", *(word for pair in arguments for word in pair)],
        pass_fds=descriptors,
    )
    theirs.close()
    udp = settings.get("udp", True)
    options = settings.get("config", {})
    for name in {"interface_local", "interface_remote"} & options.keys():
        options[name] = IPv4Address(options[name])
    config = forwarder_config(local, remote, tunnel_mtu=settings["mtu"], **options)
    key_out, key_in = KEYS if settings["first"] else KEYS[::-1]
    spi_out, spi_in = (0x1001, 0x2002) if settings["first"] else (0x2002, 0x1001)
    control.send(
        channel.Configure(config),
        channel.SetPath(local, 4500, remote, 4500, udp),
        channel.InstallInbound(sa_parameters(spi_in, key_in, local, remote)),
        channel.InstallOutbound(sa_parameters(spi_out, key_out, local, remote)),
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM})
    reports: list[channel.Report] = []
    while received := control.receive():
        reports += received
    control.send(channel.Stop())
    status = worker.wait(5)
    usage = os.times()
    result = {
        "counters": counters.snapshot(),
        "reports": [type(report).__name__ for report in reports],
        "line": [report.up for report in reports if isinstance(report, channel.LineState)],
        "status": status,
        "cpu_s": usage.children_user + usage.children_system,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()

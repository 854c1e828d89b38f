"""The edge to the operating system: sockets, TUN, netlink, clock, entropy, processes."""

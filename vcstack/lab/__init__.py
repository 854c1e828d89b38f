"""The lab: both tunnels, end to end, in network namespaces of its own."""

"""vcstack and its peers in network namespaces of one machine: `python -m benchmarks.netns`."""

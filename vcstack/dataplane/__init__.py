"""Batches of packets through GRE and ESP, both ways: pure functions on arrays, no await, no system call."""

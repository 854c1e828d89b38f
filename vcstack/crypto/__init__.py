"""Floor 1: the cryptographic primitives of IKEv2 and ESP; nothing above it imports `cryptography`."""

"""Messages of IKEv2 as values: bytes in, dataclasses out, and back (RFC 7296 3, RFC 7383)."""

"""ESP: security associations, sealing and opening of packets (RFC 4303, RFC 4106)."""

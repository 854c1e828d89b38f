"""GRE: encapsulation of IPv4 in IPv4 (RFC 2784, RFC 2890) and keepalives."""

"""BGP-4 (RFC 4271) for one external peer, without sockets and without a clock."""

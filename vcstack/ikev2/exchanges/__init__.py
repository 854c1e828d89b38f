"""The exchanges of RFC 7296, each with both its halves."""

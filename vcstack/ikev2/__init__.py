"""IKEv2 (RFC 7296) for a site-to-site gateway with pre-shared keys: codec, keys and machine, sans-IO."""

"""A userspace CPE for Virtual Connect: GRE over IPsec with IKEv2, ESP and BGP."""

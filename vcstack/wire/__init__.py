"""Floor 0: bytes on the wire as values, and back."""

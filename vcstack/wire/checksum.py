"""The Internet checksum (RFC 1071) and its incremental update (RFC 1624)."""


def internet_checksum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """Checksum of `data`, an odd last byte padded with zero on the right (RFC 1071 section 4.1).

    `initial` is added before folding: any sum of 16-bit words that belongs to the
    same checksum, such as that of a pseudo-header. A block that contains its own
    correct checksum gives 0.
    """
    words = int.from_bytes(data)
    if len(data) % 2:
        words <<= 8
    # 2^16 is 1 modulo 2^16 - 1, so the remainder is the sum with its carries wrapped around.
    total = words + initial
    folded = total % 0xFFFF
    if folded == 0 and total:
        folded = 0xFFFF  # one's complement zero of a sum that is not empty
    return folded ^ 0xFFFF


def checksum_update(old_checksum: int, old16: int, new16: int) -> int:
    """Checksum after one 16-bit word changed from `old16` to `new16` (RFC 1624 section 3, equation 3)."""
    total = (old_checksum ^ 0xFFFF) + (old16 ^ 0xFFFF) + new16
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF

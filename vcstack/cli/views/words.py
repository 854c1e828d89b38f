"""Numbers and times as people read them."""

_DAY_S = 86400
_WEEK_S = 7 * _DAY_S
_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000


def clock(seconds: float) -> str:
    """A length of time as IOS prints it: 00:12:34, from a day on 1d02h, from a week on 3w4d."""
    whole = int(seconds)
    if whole >= _WEEK_S:
        return f"{whole // _WEEK_S}w{whole % _WEEK_S // _DAY_S}d"
    if whole >= _DAY_S:
        return f"{whole // _DAY_S}d{whole % _DAY_S // 3600:02}h"
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def scaled(octets: int) -> str:
    """A number of octets in its largest decimal unit."""
    size = float(octets)
    for unit in _UNITS:
        # 999.95 would be printed as 1000.0
        if round(size, 1) < _STEP or unit == _UNITS[-1]:
            break
        size /= _STEP
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def octets(count: int) -> str:
    """The exact number of octets, and beside a large one its size."""
    return f"{count:,} bytes" + (f" ({scaled(count)})" if count >= _STEP else "")


def counted(count: int, noun: str) -> str:
    """A number and its noun, in the plural where that is right."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def joined(*parts: str | None, by: str = ", ") -> str:
    """The parts that say something."""
    return by.join(part for part in parts if part)


def yes(value: object) -> str:
    """A truth value."""
    return "yes" if value else "no"


def printable(text: str) -> str:
    """Text of the peer may hold anything: what would steer a terminal is shown by its number."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

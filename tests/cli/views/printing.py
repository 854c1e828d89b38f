"""Pages as they are printed, on a terminal of a given width or elsewhere."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from rich.console import Console

from vcstack.cli.views.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable

NARROW, WIDE = 80, 120


def printed(
    render: Callable[[Any, Page], None], answer: Any, *, width: int | None = None, everything: bool = False
) -> str:
    """The text of a view; with a width as on a terminal without colours."""
    page = Page(everything=everything)
    render(answer, page)
    output = io.StringIO()
    page.write(Console(file=output, width=width, force_terminal=width is not None, color_system=None))
    return output.getvalue()


def widest(text: str) -> int:
    """The length of the longest line."""
    return max(map(len, text.splitlines()))

"""A page of text: titles, labelled lines and tables, wrapped on a terminal and never elsewhere.

Each line has a head, which stays at the left, and a body, which is wrapped beside it where the screen is too
narrow. Without a terminal every line is whole, so that it can be searched for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from vcstack.cli.views.words import clock, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import Console

STYLES = {"up": "bold green", "connecting": "bold yellow", "down": "bold red"}
WARNING = "bold yellow"
INDENT = 2
_LABEL_WIDTH = 15
_NARROWEST_BODY = 20


class Field(NamedTuple):
    """A labelled line: what it says of a record. One that says nothing is left out."""

    label: str
    text: Callable[[Mapping[str, Any]], str | Text]


class Page:
    """Collects lines; `everything` asks the views for what is left out of a compact page."""

    def __init__(self, *, everything: bool = False) -> None:
        self.everything = everything
        self._lines: list[tuple[Text, Text]] = []

    def line(self, body: str | Text, head: str | Text = "") -> None:
        """A line whose body is wrapped to the right of its head."""
        self._lines.append((_text(head), _text(body)))

    def gap(self) -> None:
        """An empty line, except at the top."""
        if self._lines:
            self.line("")

    def title(self, name: str, layer: Mapping[str, Any], detail: str = "") -> None:
        """A tunnel's name, the state that a view is about, since when, and why."""
        self.gap()
        head = Text.assemble((name, "bold"), "  ", state(layer["state"]), f" {clock(layer['since_s'])}  ")
        self.line(detail or layer["reason"], head)

    def heading(self, text: str | Text, rest: str = "") -> None:
        """The first line of a part of a tunnel's page."""
        self.line(rest, Text.assemble(" " * INDENT, _text(text), "  " if rest else ""))

    def field(self, label: str, body: str | Text, depth: int = 1) -> None:
        """A labelled line."""
        indent = " " * (INDENT * depth)
        self.line(body, Text(f"{indent}{label:<{_LABEL_WIDTH - INDENT * (depth - 1)}}"))

    def fields(self, table: Iterable[Field], record: Mapping[str, Any], depth: int = 1) -> None:
        """The lines of a table that have something to say of a record."""
        for label, text in table:
            body = text(record)
            if body:
                self.field(label, body, depth)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str | Text]], depth: int = 1) -> None:
        """Columns as wide as they must be; a heading that starts with > is of a column of numbers."""
        names = [heading.lstrip(">") for heading in headings]
        lines = [[Text(name, style="dim") for name in names]]
        lines += [[_text(cell) for cell in row] for row in rows]
        widths = [max(cell.cell_len for cell in column) for column in zip(*lines, strict=True)]
        for cells in lines:
            padded = [
                _pad(cell, width, right=heading.startswith(">"))
                for cell, width, heading in zip(cells, widths, headings, strict=True)
            ]
            *before, last = padded
            last.rstrip()
            head = Text("  ").join([Text(" " * (INDENT * depth - 2)), *before, Text()])
            self.line(last, head)

    def write(self, console: Console) -> None:
        """Print everything."""
        width = console.width if console.is_terminal else None
        for head, body in self._lines:
            for line in _wrapped(head, body, console, width):
                line.rstrip()
                console.print(line, soft_wrap=True, highlight=False)


def state(name: str) -> Text:
    """The name of a state in its colour."""
    return Text(name, style=STYLES.get(name, ""))


def _text(text: str | Text) -> Text:
    return text if isinstance(text, Text) else Text(printable(text))


def _pad(cell: Text, width: int, *, right: bool) -> Text:
    cell = cell.copy()
    missing = width - cell.cell_len
    (cell.pad_left if right else cell.pad_right)(missing)
    return cell


def _wrapped(head: Text, body: Text, console: Console, width: int | None) -> list[Text]:
    if width is None or head.cell_len + body.cell_len <= width:
        return [Text.assemble(head, body)]
    room = max(width - head.cell_len, _NARROWEST_BODY)
    first, *rest = body.wrap(console, room)
    return [Text.assemble(head, first), *(Text.assemble(" " * head.cell_len, line) for line in rest)]

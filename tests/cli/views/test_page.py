"""Pages: hanging indents on a terminal, whole lines elsewhere, columns."""

from __future__ import annotations

import io

from rich.console import Console

from vcstack.cli.views.page import Page, state


def written(page: Page, width: int | None, *, colours: bool = False) -> list[str]:
    output = io.StringIO()
    terminal = width is not None
    page.write(
        Console(
            file=output,
            width=width,
            force_terminal=terminal,
            color_system="standard" if colours else None,
        )
    )
    return output.getvalue().splitlines()


def test_a_long_line_hangs_on_a_terminal_and_stays_whole_elsewhere() -> None:
    page = Page()
    page.field("reason", "one two three four five six seven")
    assert written(page, 40) == [
        "  reason         one two three four five",
        "                 six seven",
    ]
    assert written(page, None) == ["  reason         one two three four five six seven"]


def test_a_terminal_narrower_than_the_labels_still_shows_every_word() -> None:
    page = Page()
    page.field("reason", "one two three four five six")
    assert " ".join(" ".join(written(page, 10)).split()) == "reason one two three four five six"


def test_columns_are_as_wide_as_their_cells_and_numbers_stand_at_the_right() -> None:
    page = Page()
    page.table(("name", ">count", "note"), [("a", "5", "x"), ("longer", "12345", "")])
    assert written(page, 80) == ["  name    count  note", "  a           5  x", "  longer  12345"]


def test_states_are_coloured_on_a_terminal_only() -> None:
    page = Page()
    page.line(state("down"))
    assert written(page, 80, colours=True) == ["\x1b[1;31mdown\x1b[0m"]
    assert written(page, None) == ["down"]


def test_text_of_a_peer_is_made_harmless() -> None:
    page = Page()
    page.line("last words: \x1b[2J")
    assert written(page, 80) == ["last words: \\x1b[2J"]


def test_square_brackets_are_no_markup() -> None:
    page = Page()
    page.field("ident", "192.0.2.1/32[47] [bold]")
    assert "192.0.2.1/32[47] [bold]" in written(page, 80)[0]

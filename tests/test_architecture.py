"""The rules of the house that a machine can count: floors, and the sizes of files, classes and functions."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "vcstack").rglob("*.py"))
MAX_FILE_LINES = 600
MAX_CLASS_LINES = 250
MAX_FUNCTION_LINES = 50

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(file: Path) -> Iterator[Definition]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, Definition):
            yield node


def length(node: Definition) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_imports_keep_to_the_floors() -> None:
    command = shutil.which("lint-imports", path=Path(sys.executable).parent) or shutil.which("lint-imports")
    assert command, "import-linter is one of the development requirements"
    result = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_classes_and_functions_stay_small(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= MAX_FILE_LINES
    for node in definitions(file):
        limit = MAX_CLASS_LINES if isinstance(node, ast.ClassDef) else MAX_FUNCTION_LINES
        assert length(node) <= limit, f"{node.name}: {length(node)} lines, at most {limit}"


def test_no_class_repeats_the_name_of_its_package() -> None:
    repeated = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in SOURCES
        for node in definitions(file)
        if isinstance(node, ast.ClassDef)
        and file.parent.name in {"esp", "gre", "bgp", "ikev2"}
        and node.name.lower().startswith(file.parent.name)
    ]
    assert repeated == []

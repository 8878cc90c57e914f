"""docs/differences.md: every row names tests, and every test that it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEADS = (
    "| topic | the paper | the released code | this package | tests |",
    "| topic | this package | tests |",
)


def rows_of(text: str) -> list[list[str]]:
    """Returns the cells of every row of the tables, without their heads."""
    rows, columns = [], 0
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = 0
        elif not columns:
            if line not in HEADS:
                raise ValueError(f"expected a table's head. Received: {line}")
            columns = line.count("|") - 1
        elif not set(line) <= set("|-"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) != columns:
                raise ValueError(f"expected {columns} cells. Received: {line}")
            rows.append(cells)
    return rows


ROWS = rows_of((ROOT / "docs" / "differences.md").read_text(encoding="utf-8"))


def named(cell: str) -> list[tuple[str, str]]:
    return re.findall(r"`([\w/]+\.py)::(\w+)`", cell)


def test_the_reader_of_tables_sees_what_is_wrong():
    assert rows_of(f"{HEADS[1]}\n|---|---|---|\n| a | b | `c` |\n\ntext | text") == [
        ["a", "b", "`c`"]
    ]
    with pytest.raises(ValueError, match="expected 3 cells"):
        rows_of(f"{HEADS[1]}\n| a | b |")
    with pytest.raises(ValueError, match="expected a table's head"):
        rows_of("| a | b |")


def test_the_page_is_complete():
    assert len(ROWS) > 60
    assert all(cell for cells in ROWS for cell in cells)
    assert len({cells[0] + cells[1] for cells in ROWS}) == len(ROWS)


@pytest.mark.parametrize("cells", ROWS, ids=lambda cells: cells[0])
def test_every_row_names_tests_that_exist(cells):
    tests = named(cells[-1])
    assert ", ".join(f"`{file}::{name}`" for file, name in tests) == cells[-1]
    for file, name in tests:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert file.startswith("tests/") and name.startswith("test_")
        assert name in functions, f"{file} has no {name}"

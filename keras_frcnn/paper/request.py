"""What the user asked to make: rows of tables, table 5, figure 4; checked, and as tasks."""

import dataclasses
from collections.abc import Mapping, Sequence

from keras_frcnn.config.flagfile import nearest
from keras_frcnn.paper import rows
from keras_frcnn.paper.plan import Planner
from keras_frcnn.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Request:
    """What to make.

    Attributes:
        rows_of_tables: the rows to make of each table, by its number. Table 5 has none: it is made
            as a whole.
        with_figure: whether to make figure 4.
    """

    rows_of_tables: Mapping[int, Sequence[rows.Row]]
    with_figure: bool

    @property
    def with_times(self) -> bool:
        """Whether to make table 5."""
        return rows.TIMING_TABLE in self.rows_of_tables

    def tasks(self, planner: Planner) -> list[Task]:
        """Returns the tasks that were asked for, without those that they need.

        The seeds of a row come one after the other.
        """
        seeds = planner.settings.seeds
        tasks = [
            planner.evaluation(row, seed)
            for asked in self.rows_of_tables.values()
            for row in asked
            for seed in seeds
        ]
        if self.with_figure:
            tasks += [planner.curve(curve, seed) for curve in rows.CURVES for seed in seeds]
        if self.with_times:
            names = dict.fromkeys(row.benchmark for row in rows.TIMING_ROWS)
            tasks += [planner.benchmark(name) for name in names]
        return tasks


def make_request(
    tables: Sequence[int],
    figures: Sequence[int],
    row_names: Sequence[str],
    default_to_all: bool = False,
) -> Request:
    """Makes a request from the values of the flags.

    Args:
        tables: numbers of tables.
        figures: numbers of figures.
        row_names: names of rows; if tables are given too, only these of their rows are made.
        default_to_all: whether everything is made if no values are given.

    Raises:
        ValueError: naming what does not exist, or saying that nothing was asked for.
    """
    by_name = {row.name: row for row in rows.ROWS}
    _check_exist("table", tables, rows.TABLE_TITLES)
    _check_exist("figure", figures, (rows.FIGURE,))
    _check_exist("rows", row_names, by_name)
    if not (tables or figures or row_names):
        if not default_to_all:
            raise ValueError(
                "expected --table, --figure or --rows, to say what to make (--list shows them)"
            )
        tables, figures = tuple(rows.TABLE_TITLES), (rows.FIGURE,)
    numbers = tables or sorted({by_name[name].tables[0] for name in row_names})
    asked = {
        number: [row for row in rows.rows_of(number) if not row_names or row.name in row_names]
        for number in numbers
    }
    found = {row.name for some in asked.values() for row in some}
    outside = [name for name in row_names if name not in found]
    if outside:
        raise ValueError(f"--rows: {', '.join(outside)} is in none of the tables of --table")
    return Request(asked, bool(figures))


def _check_exist(flag: str, values: Sequence, known: Sequence | Mapping) -> None:
    """Refuses the first value that does not exist."""
    for value in values:
        if value not in known:
            hint = nearest(value, known, "{}") if flag == "rows" else ""
            expected = "a row that --list shows" if flag == "rows" else ", ".join(map(str, known))
            raise ValueError(f"--{flag}: expected {expected}. Received: {value}.{hint}")

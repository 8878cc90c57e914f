"""What was asked for, as work: its parts, its tables, and a look at what there is."""

import shlex
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Column, Table

from keras_frcnn.config.flagfile import nearest
from keras_frcnn.paper import figure, outcome, parts, plots, rows, run, tables, times
from keras_frcnn.paper.parts import Part, Planner


def choose(
    asked_tables: Sequence[int],
    asked_figures: Sequence[int],
    asked_rows: Sequence[str],
    everything: bool = False,
) -> tuple[dict[int, list[rows.Row]], bool]:
    """Finds what was asked for.

    Args:
        asked_tables: numbers of tables.
        asked_figures: numbers of figures.
        asked_rows: names of rows; with tables, only these of them are made.
        everything: whether nothing asked for means all.

    Returns:
        The rows to make of each table, and whether to make figure 4.

    Raises:
        ValueError: naming what does not exist, or saying that nothing was asked for.
    """
    names = {row.name: row for row in rows.ROWS}
    for what, asked, known in (
        ("table", asked_tables, rows.TABLES),
        ("figure", asked_figures, (rows.FIGURE,)),
        ("rows", asked_rows, names),
    ):
        for name in asked:
            if name not in known:
                hint = nearest(name, known, "{}") if what == "rows" else ""
                there = "see --list" if what == "rows" else ", ".join(map(str, known))
                raise ValueError(f"--{what}: there is no {name}.{hint} There are: {there}")
    if not (asked_tables or asked_figures or asked_rows):
        if not everything:
            raise ValueError("nothing is asked for: give --table, --figure or --rows; see --list")
        asked_tables, asked_figures = tuple(rows.TABLES), (rows.FIGURE,)
    numbers = asked_tables or sorted({names[name].tables[0] for name in asked_rows})
    found = {
        number: [row for row in rows.rows_of(number) if not asked_rows or row.name in asked_rows]
        for number in numbers
    }
    outside = [
        name for name in asked_rows if not any(names[name] in some for some in found.values())
    ]
    if outside:
        raise ValueError(f"--rows: {', '.join(outside)} is in none of the tables of --table")
    return found, bool(asked_figures)


class Work:
    """What is to be made.

    Args:
        chosen: of ``choose``.
        planner: makes the parts.
    """

    def __init__(self, chosen: tuple[dict[int, list[rows.Row]], bool], planner: Planner):
        self._tables, self._with_figure = chosen
        self._planner, self._settings = planner, planner.settings

    @property
    def parts(self) -> list[Part]:
        """What has to be done, without what that needs; a row's seeds come one after the other."""
        wanted = [
            self._planner.evaluation(row, seed)
            for some in self._tables.values()
            for row in some
            for seed in self._settings.seeds
        ]
        if self._with_figure:
            wanted += [
                self._planner.curve(curve, seed)
                for curve in rows.CURVES
                for seed in self._settings.seeds
            ]
        if rows.TIMES_TABLE in self._tables:
            wanted += times.parts_of(self._planner).values()
        return wanted

    def commands(self) -> list[str]:
        """The commands that would run, in order; what cannot run is said instead."""
        lines = []
        for part in parts.unfinished(self.parts):
            problem = run.Runner(print).problem(part)
            try:
                lines.append(f"# {part.title}: {problem}" if problem else _shown(part))
            except ValueError as error:
                lines.append(f"# {part.title}: {error}")
        return lines

    def print_list(self, console: Console) -> None:
        """Prints every row with what there is of it and what is missing."""
        problem = run.Runner(print).problem
        shown = Table("table", Column("row", no_wrap=True), "", "paper", "ours", "missing")
        for number, some in self._tables.items():
            for row in some:
                found = outcome.of_row(row, self._planner, problem)
                ours = "" if found.mean is None else f"{found.mean:.1f} ({len(found.values)})"
                paper = f"{row.published:.1f}"
                shown.add_row(str(number), row.name, row.title, paper, ours, found.missing)
        for curve in rows.CURVES if self._with_figure else ():
            part = self._planner.curve(curve, self._settings.seeds[0])
            missing = "" if part.is_done else problem(part) or "not run yet"
            shown.add_row(f"figure {rows.FIGURE}", "", curve.title, "", "", missing)
        if rows.TIMES_TABLE in self._tables:
            for found in times.of_rows(self._planner, problem):
                paper, of = f"{found.times.total} ms", found.times
                ours = f"{found.milliseconds[-1]:.1f} ms" if found.milliseconds else ""
                shown.add_row(str(rows.TIMES_TABLE), "", of.title, paper, ours, found.missing)
        console.print(shown)

    def write(self, problem: Callable[[Part], str]) -> list[str]:
        """Writes all tables and plots as far as they are there.

        Args:
            problem: says why a part is not there and cannot be; empty: it may be.

        Returns:
            The files of the tables.
        """
        folder, written = self._settings.output_dir, []
        for number in self._tables:
            file = folder / f"table_{number}.md"
            if number == rows.TIMES_TABLE:
                found = times.of_rows(self._planner, problem)
                file.write_text(tables.times_table(found, self._settings), encoding="utf-8")
            else:
                self._write_table(number, file, problem)
            written.append(str(file))
        if self._with_figure:
            curves = [figure.of_curve(curve, self._planner, problem) for curve in rows.CURVES]
            names = plots.write_curves(curves, folder)
            file = folder / f"figure_{rows.FIGURE}.md"
            file.write_text(tables.figure(curves, self._settings, names), encoding="utf-8")
            tables.write_figure_csv(curves, file.with_suffix(".csv"))
            written.append(str(file))
        return written

    def _write_table(self, number, file, problem):
        """All rows of a table, those that were not asked for too, as far as they are there."""
        found = [outcome.of_row(row, self._planner, problem) for row in rows.rows_of(number)]
        drawn = []
        if number in rows.PER_CLASS_TABLES:
            drawn = [plots.write_classes(number, one, file.parent) for one in found if one.values]
        text = tables.table(number, found, self._settings, drawn)
        file.write_text(text, encoding="utf-8")
        tables.write_table_csv(number, found, file.with_suffix(".csv"))


def _shown(part: Part) -> str:
    """A command line as one would give it; what is not known before others ran is said."""
    try:
        late = shlex.join(part.late_flags())
    except ValueError as error:
        late = f"# and more: {error}"
    command = "keras-frcnn" if part.module.startswith("keras_frcnn") else f"python -m {part.module}"
    return " ".join(filter(None, [command, shlex.join([part.command, *part.flags]), late]))

"""What a row needs to be made: commands of the package, each with the file that tells it is done.

Rows share parts: a model that is trained once is tested in many ways.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from keras_frcnn.config import Config
from keras_frcnn.paper import budget, rows
from keras_frcnn.paper.settings import Settings

DONE = "done.json"
_LAST = "last.keras"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One command, and what it makes.

    Attributes:
        title: for people.
        command: of the module.
        flags: its flags, without those of ``late_flags``.
        result: the file that is there when it is done. A ``done.json`` is written then; others the
            command writes itself, whole or not at all.
        needs: parts that come before it.
        missing: what it lacks and nobody here can make; empty: nothing.
        late_flags: more flags, known when the parts that it needs are done; a ValueError says what
            else is missing.
        module: Python's, of which it is a command.
    """

    title: str
    command: str
    flags: tuple[str, ...]
    result: Path
    needs: tuple["Part", ...] = ()
    missing: str = ""
    late_flags: Callable[[], tuple[str, ...]] = tuple
    module: str = "keras_frcnn.cli.main"

    @property
    def is_done(self) -> bool:
        """Whether its result is there."""
        return self.result.is_file()


class Planner:
    """Makes the parts of rows and curves.

    Args:
        settings: what all rows share.
        read_config: gives a model's settings by the name of its flagfile, with the overrides.
        proposals_problem: says what a method (of ``rows.METHODS``) lacks to propose; empty:
            nothing.

    Attributes:
        proposals_problem: the same, asked once.
    """

    def __init__(
        self,
        settings: Settings,
        read_config: Callable[[str], Config],
        proposals_problem: Callable[[str], str],
    ):
        self.settings = settings
        self.config = functools.cache(read_config)
        self._look_at = functools.cache(settings.look)  # at thousands of files, for every row
        self.proposals_problem = functools.cache(proposals_problem)

    # --- what a row is made of

    def evaluation(self, row: rows.Row, seed: int) -> Part:
        """The part that measures a row; its ``done.json`` stands beside ``results.json``, or beside
        nothing but detections where the test images have no annotations.
        """
        config, trained = self.config(row.model), self.training(row.model, seed)
        folder = self.settings.output_dir / "evaluations" / row.name / f"seed_{seed}"
        needs, flags = (trained,), row.flags
        if row.proposals:
            file = self.proposals(row.proposals, "eval_split", config, seed)
            needs, flags = (trained, file), (f"--test_proposals={file.result}", *flags)
        if not self._is_measured(config):
            flags = (*flags, "--detections_only")
        data_dir, _, eval_split = self.settings.data_flags(config)
        return Part(
            title=f"evaluate {row.name}, seed {seed}",
            command="evaluate",
            flags=(
                f"--checkpoint={trained.result.with_name(_LAST)}",
                *(data_dir, eval_split),
                *flags,
                "--resamples=0",
                f"--output_dir={folder}",
            ),
            result=folder / DONE,
            needs=needs,
            missing=self._problems(config, "eval_split"),
        )

    def training(self, name: str, seed: int) -> Part:
        """The part that trains a model: last.keras stands beside its result."""
        model, config = rows.MODELS[name], self.config(name)
        needs, flags = (), ()
        if model.proposals:
            needs = tuple(
                self.proposals(rows.Proposals(model.proposals), split, config, seed)
                for split in ("train_split", "eval_split")
            )
            files = zip(("train_proposals", "test_proposals"), needs, strict=True)
            flags = tuple(f"--{flag}={part.result}" for flag, part in files)
        if model.start:
            needs = (self.training(model.start, seed),)
            flags = (f"--start_checkpoint={needs[0].result.with_name(_LAST)}",)
        data_flags = self.settings.data_flags(config)
        if not self._is_measured(config):
            data_flags = (*data_flags[:-1], "--eval_split=-")
        folder = self.settings.output_dir / "models" / name
        part = Part(
            title=f"train {name}, seed {seed}",
            command="train",
            flags=(
                f"--flagfile={self.settings.configs_dir / name}.cfg",
                *self.settings.overrides,
                *data_flags,
                *flags,
                f"--seed={seed}",
                f"--output_dir={folder / f'seed_{seed}'}",
            ),
            result=folder / f"seed_{seed}" / DONE,
            needs=needs,
            missing=self._problems(config, "train_split", "eval_split"),
        )
        return part if self.settings.minutes is None else self._within_time(part, name)

    def _within_time(self, part: Part, name: str) -> Part:
        """The part with its schedule scaled, and before it a rehearsal that measures its steps."""
        rehearsal = dataclasses.replace(
            part,
            title=f"rehearse {name}",
            flags=(*part.flags, "--dry_run", f"--dry_run_file={self._rehearsal(name)}"),
            result=self._rehearsal(name),
        )
        return dataclasses.replace(
            part,
            needs=(*part.needs, rehearsal),
            late_flags=lambda: budget.schedule_flags(self.config(name), self.schedule(name)),
        )

    def proposals(self, proposals: rows.Proposals, split: str, config: Config, seed: int) -> Part:
        """The part that writes proposals of an image set ("train_split" or "eval_split")."""
        names = "_".join(self.settings.splits(getattr(config, split))).replace("/", "-")
        data_dir, *splits = self.settings.data_flags(config)
        place = (data_dir, splits[split == "eval_split"], f"--split={split}")
        folder = self.settings.output_dir / "proposals"
        if proposals.model:
            trained = self.training(proposals.model, seed)
            words = f"rpn-{proposals.model}{'-' * bool(proposals.kind)}{proposals.kind}"
            file = folder / f"{words}-{names}-seed_{seed}.npz"
            checkpoint = trained.result.with_name(_LAST)
            flags = ("--method=rpn", f"--checkpoint={checkpoint}", *place, *proposals.flags)
            needs, missing = (trained,), ""
        else:
            words, needs = proposals.method, ()
            file = folder / f"{words}-{names}.npz"
            flags = (f"--method={proposals.method}", *place, *self.settings.data_overrides)
            if proposals.method == rows.EDGE_BOXES:
                flags += (f"--edge_model={self.settings.edge_model}",)
            missing = "" if file.is_file() else self.proposals_problem(proposals.method)
        return Part(
            title=f"proposals {file.stem}",
            command="propose",
            flags=(*flags, f"--output_file={file}"),
            result=file,
            needs=needs,
            missing=self._problems(config, split) or missing,
        )

    def curve(self, curve: rows.Curve, seed: int) -> Part:
        """The proposals of a curve of figure 4, whose test images need annotations."""
        config = self.config(curve.proposals.model or "zf_ss")
        part = self.proposals(curve.proposals, "eval_split", config, seed)
        if part.missing or self._is_measured(config):
            return part
        return dataclasses.replace(part, missing="needs the annotations of the test images")

    # --- what is said of a row

    def schedule(self, name: str) -> Config:
        """Returns a model's settings with the schedule that fits the time.

        Raises:
            ValueError: if the time is too short, or the model has not been rehearsed yet.
        """
        config = self.config(name)
        if self.settings.minutes is None:
            return config
        try:
            rehearsed = json.loads(self._rehearsal(name).read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"steps are not known before {name} is rehearsed") from error
        return budget.scaled(config, self.settings.minutes, rehearsed)

    def data(self, row: rows.Row) -> str:
        """Says with what a row starts, and the image sets and numbers of images that it is
        trained and tested on.
        """
        config, start = self.config(row.model), rows.MODELS[row.model].start
        first = self.config(start or row.model).backbone_weights
        words = {"none": "random", "imagenet": "ImageNet"}.get(first, first)
        trained = [start, row.model] if start else [row.model]
        sets = [self._sets(self.config(name), "train_split") for name in trained]
        return f"{words}: {', then '.join(sets)} -> {self._sets(config, 'eval_split')}"

    def _sets(self, config: Config, split: str) -> str:
        """The image sets of "train_split" or "eval_split", with their numbers of images."""
        counts, _ = self._look(config, split)
        return " + ".join(f"{n} ({count})" if count else n for n, count in counts.items())

    def _problems(self, config: Config, *splits: str) -> str:
        """What is missing of the image sets."""
        problems = [problem for split in splits for problem in self._look(config, split)[1]]
        return "; ".join(dict.fromkeys(problems))

    def _look(self, config, split):
        counts, problems = {}, []
        for name in self.settings.splits(getattr(config, split)):
            counts[name] = None
            try:
                counts[name], is_annotated = self._look_at(config.dataset, name)
            except ValueError as error:
                problems.append(str(error))
                continue
            if split == "train_split" and not is_annotated:
                problems.append(f"needs the annotations of {name}")
        return counts, problems

    def _is_measured(self, config):
        """Whether the test images have annotations; where they are not there, that is not known
        and does not matter.
        """
        try:
            found = [
                self._look_at(config.dataset, name)
                for name in self.settings.splits(config.eval_split)
            ]
        except ValueError:
            return True
        return all(is_annotated for _, is_annotated in found)

    def _rehearsal(self, name):
        return self.settings.output_dir / "models" / name / "dry_run.json"


def unfinished(parts: Iterable[Part]) -> list[Part]:
    """Returns parts and all that they need as far as they are not done, each once, what is needed
    before what needs it.
    """
    found: dict[Path, Part] = {}

    def visit(part):
        if not part.is_done:
            for need in part.needs:
                visit(need)
            found.setdefault(part.result, part)

    for part in parts:
        visit(part)
    return list(found.values())

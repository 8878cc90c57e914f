"""Figure 4: how much of all objects the proposals of each source cover, against IoU."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_frcnn import data
from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS, recall
from keras_frcnn.paper import rows
from keras_frcnn.paper.parts import Part, Planner


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveOutcome:
    """The recall of a source's proposals.

    Attributes:
        curve: the source.
        recall: float64 [len(rows.FIGURE_NUMBERS), len(CURVE_IOU_THRESHOLDS)], the mean over seeds;
            None without any.
        num_seeds: how many it is the mean of; 1 for methods without any chance.
        missing: why there are not more; empty: there are all.
    """

    curve: rows.Curve
    recall: np.ndarray | None
    num_seeds: int
    missing: str


def of_curve(curve: rows.Curve, planner: Planner, problem: Callable[[Part], str]) -> CurveOutcome:
    """Gathers what is there for a curve.

    Args:
        curve: the source.
        planner: of its parts.
        problem: says why a part cannot be made; empty: it may be.

    Raises:
        ValueError: naming the file that is wrong.
    """
    seeds = planner.settings.seeds if curve.proposals.model else planner.settings.seeds[:1]
    found, missing = [], ""
    for seed in seeds:
        part = planner.curve(curve, seed)
        if part.is_done and not part.missing:
            found.append(_recall(part.result, planner))
        else:
            missing = missing or part.missing or problem(part) or "not run yet"
    mean = np.mean(found, axis=0) if found else None
    return CurveOutcome(curve=curve, recall=mean, num_seeds=len(found), missing=missing)


def _recall(file: Path, planner: Planner) -> list[list[float]]:
    """The recall of a proposals file; it takes minutes, so it is kept beside the file."""
    kept = file.with_suffix(".recall.json")
    if not kept.exists() or kept.stat().st_mtime < file.stat().st_mtime:
        from keras_frcnn.data import proposals_file  # TensorFlow takes seconds

        settings, config = planner.settings, planner.config("zf_ss")
        config = config.replace(data_dir=(settings.data_dir,))
        dataset = data.load(config, settings.splits(config.eval_split))
        most = max(rows.FIGURE_NUMBERS)
        proposals = proposals_file.read_for(file, dataset.records, most)
        values = recall(
            [record.boxes[~record.difficult] for record in dataset.records],
            np.split(proposals.boxes, proposals.splits[1:-1]),
            rows.FIGURE_NUMBERS,
            CURVE_IOU_THRESHOLDS,
        )
        kept.write_text(json.dumps(values.tolist()), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))

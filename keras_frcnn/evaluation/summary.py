"""All that is known after an evaluation, in one object.

The console's tables, JSON, CSV, TensorBoard and the page are all written from it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_frcnn.data.records import Dataset
from keras_frcnn.evaluation import coco, curves, voc
from keras_frcnn.evaluation.bootstrap import Intervals
from keras_frcnn.evaluation.errors import ErrorSplit
from keras_frcnn.evaluation.proposals import RecallCurves


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """The results of one evaluation.

    Attributes:
        result: the figures of the metric, per class and mean.
        errors: what became of each detection and object; it holds both (``errors.found`` and
            ``errors.truth``). Its pictures are those of ``dataset.records``, in the same order.
        gains: by the name of an error ("localisation", "missed", ...) what the metric's mean AP
            would gain if that kind alone were mended.
        intervals: bootstrap intervals; None if not asked for.
        recall: of the proposals; None if there are none, as for detections from elsewhere.
        dataset: the pictures; None where only annotations were read.
        settings: what the results depend on, as ``Config.to_dict`` returns.
    """

    result: voc.Result | coco.Result
    errors: ErrorSplit
    gains: Mapping[str, float]
    intervals: Intervals | None
    recall: RecallCurves | None
    dataset: Dataset | None
    settings: Mapping[str, Any]

    @property
    def curves(self) -> tuple[curves.Curve, ...]:
        """Precision against recall, see ``curves.of``."""
        return curves.of(self.result)

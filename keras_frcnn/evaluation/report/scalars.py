"""Results as TensorBoard scalars, which have the same names during and after training."""

from collections.abc import Mapping

from keras_frcnn.evaluation.analysis.summary import Summary
from keras_frcnn.evaluation.metrics import coco, voc

_OVERVIEW = {"loss": "loss", "mAP_area": "mAP", "COCO/AP": "mAP"}


def with_overview(values: Mapping[str, float]) -> dict[str, float]:
    """Adds the total loss and mean AP once more, as "1_overview/loss" and "1_overview/mAP".

    TensorBoard opens on its first groups, which it sorts by name. It has no setting for their
    order, and its custom layouts are a tab that has to be chosen first.
    """
    first = {f"1_overview/{short}": values[n] for n, short in _OVERVIEW.items() if n in values}
    return first | dict(values)


def of_result(
    result: voc.Result | coco.Result | None, recall: Mapping[int, float], source: str = "RPN"
) -> dict[str, float]:
    """Returns the figures of a result and the recall of the proposals.

    Args:
        result: The result of either metric; None if only proposals were measured.
        recall: The recall at IoU 0.5 for each number of proposals.
        source: Where the proposals come from, as ``proposal_recall.source_of`` names it.

    Returns:
        Fractions by name, NaN where undefined: "mAP_area" or "COCO/AP", "AP_area/cat" or
        "COCO_AP/cat", "RPN_recall/300_proposals" (or another source). The first one is the figure
        by which two models are compared.
    """
    if result is None:
        values = {}
    elif isinstance(result, coco.Result):
        values = {f"COCO/{name}": value for name, value in result.figures.items()}
        values |= {f"COCO_AP/{c.name}": c.figures["AP"] for c in result.classes}
    else:
        values = {"mAP_area": result.map_area, "mAP_11point": result.map_11point}
        values |= {f"AP_area/{c.name}": c.ap_area for c in result.classes}
    return values | {f"{source}_recall/{n}_proposals": float(value) for n, value in recall.items()}


def of_summary(summary: Summary) -> dict[str, float]:
    """Returns all results that are single numbers.

    Args:
        summary: The results.

    Returns:
        What ``of_result`` returns, and names such as "interval/map_area_low" and
        "error_gain/missed".
    """
    values = of_result(summary.result, {})
    if summary.recall is not None:
        at_half = summary.recall.recall[:, summary.recall.iou_thresholds.index(0.5)]
        recall = dict(zip(summary.recall.num_proposals, at_half.tolist(), strict=True))
        values = of_result(summary.result, recall, summary.recall.source)
    if summary.intervals is not None:
        for name, interval in summary.intervals.means.items():
            values[f"interval/{name}_low"] = interval.low
            values[f"interval/{name}_high"] = interval.high
    return values | {f"error_gain/{name}": gain for name, gain in summary.gains.items()}

"""Table 5 of the paper: milliseconds of the convolutions, the proposals and the regions.

As in the table, "proposal" is the RPN's layers and "region-wise" is everything after them:
suppression, pooling, dense layers, softmax. Each stage is timed alone, in turn with the whole, so
the sum of the stages differs a little from the whole.
"""

from collections.abc import Mapping, Sequence

from benchmarks import flops, scene, timing
from benchmarks.cases import Case
from benchmarks.results import Result, Row
from benchmarks.suites import backbone
from keras_frcnn.paper.rows import TIMING_ROWS

STAGES = ("convolutions", "proposal", "region-wise", "total")
CONVOLUTIONS, PROPOSAL, REGIONS, TOTAL = STAGES
# Milliseconds per image on an NVIDIA K40, by suite and backbone, in the order above.
_K40_MS = {
    (row.benchmark, row.backbone): (row.convolutions, row.proposal, row.regions, row.total)
    for row in TIMING_ROWS
}


def run(case: Case) -> Result:
    """Times the stages and the whole in turn."""
    inputs, _ = scene.make_batch(case)
    model = scene.make_model(case, inputs)
    levels = model.features(inputs)
    predictions = model.rpn.predict(levels)
    whole = timing.blocking(model.predict_step, inputs)
    functions = {
        CONVOLUTIONS: backbone.forward(model.backbone, inputs),
        PROPOSAL: timing.blocking(model.rpn.predict, levels),
        REGIONS: timing.blocking(_regions(model), levels, predictions, inputs["image_shape"]),
        TOTAL: whole,
    }
    timings = timing.interleaved(functions, case.calls)
    num_rois = model.config.test_post_nms_top_k
    (cells,) = flops.level_shapes(model.backbone, case.size)
    convolutions = flops.backbone(model.backbone, case.size, case.batch)
    proposal = flops.rpn_head(model.rpn.head, cells, case.batch, True)
    regions = flops.box_head(model.roi_head.box_head, case.batch * num_rois, True)
    gflop = (convolutions, proposal, regions, convolutions + proposal + regions)
    rows = rows_of(case, timings, gflop)
    return Result(rows, scene.describe_answer(model, whole()))


def rows_of(
    case: Case, timings: Mapping[str, timing.Timing], gflop: Sequence[flops.Count | None]
) -> list[Row]:
    """Makes the rows of a case, with the paper's figures.

    Args:
        case: a case of a suite that ``TIMING_ROWS`` names.
        timings: those of ``STAGES``, in order.
        gflop: the arithmetic of each, if there is any.
    """
    return [
        Row(
            name,
            own_timing,
            count and count.forward,
            ratio_to=CONVOLUTIONS if name == TOTAL else None,
            ratio=own_timing.ratio_to(timings[CONVOLUTIONS]) if name == TOTAL else None,
            facts={"paper_k40_ms": k40_ms},
        )
        for (name, own_timing), count, k40_ms in zip(
            timings.items(), gflop, _K40_MS[case.suite, case.backbone], strict=True
        )
    ]


def _regions(model):
    def function(levels, predictions, image_shape):
        proposals = model.rpn.propose(predictions, image_shape)
        return model.roi_head(levels=levels, proposals=proposals, image_shape=image_shape)

    return function

"""Table 5 of the paper: milliseconds of the convolutions, the proposals and the regions.

As there, "proposal" is the RPN's layers and "region-wise" everything after them: suppression,
pooling, dense layers, softmax. Each piece is timed alone, in turn with the whole, so the pieces'
sum and the whole differ a little.
"""

from collections.abc import Mapping, Sequence

from benchmarks import flops, measure, scene
from benchmarks.cases import Case, Result, Row
from benchmarks.parts import backbone
from keras_frcnn.paper.rows import TIMES

PIECES = ("convolutions", "proposal", "region-wise", "total")
CONVOLUTIONS, PROPOSAL, REGIONS, TOTAL = PIECES
# Milliseconds an image on an NVIDIA K40, by part and backbone; the order as above.
_K40_MS = {
    (times.part, times.backbone): (
        *(times.convolutions, times.proposal, times.regions),
        times.total,
    )
    for times in TIMES
}


def run(case: Case) -> Result:
    """Times pieces and whole in turn."""
    inputs, _ = scene.make_batch(case)
    model = scene.make_model(case, inputs)
    shared = model.shared(inputs)
    whole = measure.blocking(model.predict_step, inputs)
    functions = {
        CONVOLUTIONS: backbone.forward(model.backbone, inputs),
        PROPOSAL: measure.blocking(
            lambda features: (model.anchor_generator(features), model.rpn_head(features)),
            shared["features"],
        ),
        REGIONS: measure.blocking(_regions(model), shared, inputs),
        TOTAL: whole,
    }
    timings = measure.interleaved(functions, case.calls)
    rois = model.config.test_post_nms_top_k
    cells = flops.features_shape(model.backbone, case.size)
    convolutions = flops.backbone(model.backbone, case.size, case.batch)
    proposal = flops.rpn_head(model.rpn_head, cells, case.batch, True)
    regions = flops.box_head(model.box_head, case.batch * rois, True)
    gflop = (convolutions, proposal, regions, convolutions + proposal + regions)
    rows = rows_of(case, timings, gflop)
    return Result(rows, scene.describe_answer(model, whole()))


def rows_of(
    case: Case, timings: Mapping[str, measure.Timing], gflop: Sequence[flops.Count | None]
) -> list[Row]:
    """Makes the rows of a case, with the paper's figures.

    Args:
        case: of one of ``TIMES``.
        timings: of ``PIECES``, in order.
        gflop: of each, where there is any.
    """
    return [
        Row(
            name,
            timing,
            count and count.forward,
            ratio_to=CONVOLUTIONS if name == TOTAL else None,
            ratio=timing.ratio_to(timings[CONVOLUTIONS]) if name == TOTAL else None,
            facts={"paper_k40_ms": k40_ms},
        )
        for (name, timing), count, k40_ms in zip(
            timings.items(), gflop, _K40_MS[case.part, case.backbone], strict=True
        )
    ]


def _regions(model):
    def function(shared, inputs):
        proposals, _, valid = model.propose(model.test_proposal_generator, shared, inputs)
        answers = model.head(shared, proposals)
        return model.detection_decoder(proposals, valid, *answers, inputs["image_shape"])

    return function

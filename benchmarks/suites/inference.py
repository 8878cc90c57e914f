"""A whole prediction of a batch, as ``predict`` and evaluation run it, beside its backbone."""

from benchmarks import flops, scene, timing
from benchmarks.cases import Case
from benchmarks.results import Result, timed_rows
from benchmarks.suites import backbone

WHOLE = "prediction"


def run(case: Case) -> Result:
    """Times both in turn."""
    inputs, _ = scene.make_batch(case)
    model = scene.make_model(case, inputs)
    whole = timing.blocking(model.predict_step, inputs)
    functions = {WHOLE: whole, backbone.FORWARD: backbone.forward(model.backbone, inputs)}
    timings = timing.interleaved(functions, case.calls)
    num_rois = model.config.test_post_nms_top_k
    gflop = {
        WHOLE: flops.detector(model, case.size, case.batch, num_rois).forward,
        backbone.FORWARD: flops.backbone(model.backbone, case.size, case.batch).forward,
    }
    rows = timed_rows(timings, gflop, ratio_to=backbone.FORWARD)
    return Result(rows, scene.describe_answer(model, whole()))

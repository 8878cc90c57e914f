"""The first row of the paper's table 5: the detector on Selective Search's regions, not an RPN's.

The image is a drawn one, and how long Selective Search takes depends on the image. Its regions
are taken again and again until there are as many as the paper has.
"""

import numpy as np
import tensorflow as tf

from benchmarks import flops, measure, scene
from benchmarks.cases import Case, Result
from benchmarks.parts import backbone, paper
from keras_frcnn.inference.classic_proposals import proposer

_NUM_REGIONS = 2000


def run(case: Case) -> Result:
    """Times pieces and whole in turn."""
    images, _ = scene.draw(case)
    inputs, _ = scene.make_batch(case)
    model = scene.make_model(case, inputs)
    propose = proposer("selective_search", limit=_NUM_REGIONS)
    boxes, _ = propose(images[0])
    regions = tf.constant(np.resize(boxes, (1, _NUM_REGIONS, 4)))
    convolutions = backbone.forward(model.backbone, inputs)
    region_wise = measure.blocking(_regions(model), model.shared(inputs), inputs, regions)

    def whole():
        convolutions()
        propose(images[0])
        return region_wise()

    functions = (convolutions, lambda: propose(images[0]), region_wise, whole)
    timings = measure.interleaved(dict(zip(paper.PIECES, functions, strict=True)), case.calls)
    of_convolutions = flops.backbone(model.backbone, case.size, case.batch)
    of_regions = flops.box_head(model.box_head, _NUM_REGIONS, True)
    gflop = (of_convolutions, None, of_regions, of_convolutions + of_regions)
    rows = paper.rows_of(case, timings, gflop)
    return Result(rows, {"proposals": len(boxes), "regions": _NUM_REGIONS})


def _regions(model):
    def function(shared, inputs, regions):
        answers = model.head(shared, regions)
        valid = tf.ones(regions.shape[:2], tf.bool)
        return model.detection_decoder(regions, valid, *answers, inputs["image_shape"])

    return function

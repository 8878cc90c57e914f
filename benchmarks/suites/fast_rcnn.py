"""The first row of the paper's table 5: the detector on the regions of Selective Search.

The image is a drawn one, and the time of Selective Search depends on the image. Its regions are
repeated until there are as many as in the paper.
"""

import numpy as np
import tensorflow as tf

from benchmarks import flops, scene, timing
from benchmarks.cases import Case
from benchmarks.results import Result
from benchmarks.suites import backbone, paper
from keras_frcnn.inference.classic_proposals import proposer
from keras_frcnn.models.rpn import Proposals

_NUM_REGIONS = 2000


def run(case: Case) -> Result:
    """Times the stages and the whole in turn."""
    images, _ = scene.draw(case)
    inputs, _ = scene.make_batch(case)
    model = scene.make_model(case, inputs)
    propose = proposer("selective_search", limit=_NUM_REGIONS)
    boxes, _ = propose(images[0])
    regions = tf.constant(np.resize(boxes, (1, _NUM_REGIONS, 4)))
    convolutions = backbone.forward(model.backbone, inputs)
    region_wise = timing.blocking(
        _classify(model), model.features(inputs), inputs["image_shape"], regions
    )

    def whole():
        convolutions()
        propose(images[0])
        return region_wise()

    functions = (convolutions, lambda: propose(images[0]), region_wise, whole)
    timings = timing.interleaved(dict(zip(paper.STAGES, functions, strict=True)), case.calls)
    of_convolutions = flops.backbone(model.backbone, case.size, case.batch)
    of_regions = flops.box_head(model.roi_head.box_head, _NUM_REGIONS, True)
    gflop = (of_convolutions, None, of_regions, of_convolutions + of_regions)
    rows = paper.rows_of(case, timings, gflop)
    return Result(rows, {"proposals": len(boxes), "regions": _NUM_REGIONS})


def _classify(model):
    def function(levels, image_shape, regions):
        valid = tf.ones(regions.shape[:2], tf.bool)
        proposals = Proposals(regions, tf.zeros(regions.shape[:2]), valid)
        return model.roi_head(levels=levels, proposals=proposals, image_shape=image_shape)

    return function

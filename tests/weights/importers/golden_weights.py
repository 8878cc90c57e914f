"""Weights that NumPy draws by name, so that the originals and this package can have the same.

Run as a script, in a Python with torch and torchvision, this writes ``data/torchvision.json``: what
torchvision's detectors find with such weights on an image. Given the folder of detectron2's source,
it writes ``data/detectron2.json`` instead; ``benchmarks/parity`` says what that needs.

    python tests/weights/importers/golden_weights.py [DETECTRON2]
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np

_DATA = Path(__file__).with_name("data")
FILES = {source: _DATA / f"{source}.json" for source in ("torchvision", "detectron2")}
MODELS = {
    "torchvision": ("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn_v2"),
    "detectron2": ("faster_rcnn_R_50_C4", "faster_rcnn_R_50_FPN"),
}
CLASSES = ("cat", "dog")
SIDES = (64, 96)
NUM_PROPOSALS = 40  # of detectron2's, whose C4 head takes long
# Standard deviations of weights, times the square root of their inputs. detectron2 does not scale
# its pixels.
_GAINS = {
    "stem.conv1": 1 / 60,
    "cls_logits": 1.0,
    "head.bbox_pred": 0.1,
    "objectness_logits": 1.0,
    "anchor_deltas": 0.1,
    "cls_score": 2.0,
    "predictor.bbox_pred": 0.5,
}


def draw(shapes):
    """Returns arrays by name; each depends on its own name and shape alone."""
    return {name: _draw(name, tuple(shape)) for name, shape in shapes.items()}


def _draw(name, shape):
    random = np.random.default_rng(zlib.crc32(name.encode()))
    layer, _, part = name.rpartition(".")
    if part == "running_var" or (part == "weight" and len(shape) == 1):
        scale = 0.25 if layer.endswith("conv3.norm") and part == "weight" else 1.0
        return random.uniform(0.5 * scale, 1.5 * scale, shape).astype(np.float32)
    values = random.standard_normal(shape, np.float32)
    if len(shape) == 1:
        return values * np.float32(0.2)
    gain = next((gain for end, gain in _GAINS.items() if layer.endswith(end)), 1.0)
    return values * np.float32(gain / np.sqrt(np.prod(shape[1:])))


def image():
    """Returns an image with structures of several sizes, uint8 [75, 50, 3]."""
    random = np.random.default_rng(0)
    coarse = np.kron(random.integers(0, 256, (5, 4, 3)), np.ones((16, 16, 1)))[:75, :50]
    return np.clip(coarse + random.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)


def _torchvision():
    import torch
    from torchvision.models import detection

    pixels = torch.from_numpy(image()).permute(2, 0, 1).float() / 255
    for name in MODELS["torchvision"]:
        model = getattr(detection, name)(
            weights=None,
            weights_backbone=None,
            num_classes=len(CLASSES) + 1,
            min_size=SIDES[0],
            max_size=SIDES[1],
        )
        yield name, _golden(model, model.rpn, [pixels], lambda found: found)


def _detectron2(source):
    sys.path.append(str(Path(__file__).parents[3] / "benchmarks/parity"))
    import detectron2_side
    import torch

    resize, make = detectron2_side.prepare(source)
    for name in MODELS["detectron2"]:
        model = make(
            f"COCO-Detection/{name}_3x",
            {
                "MODEL.ROI_HEADS.NUM_CLASSES": len(CLASSES),
                "MODEL.RPN.POST_NMS_TOPK_TEST": NUM_PROPOSALS,
            },
        )
        pixels = torch.as_tensor(resize(image()[:, :, ::-1], *SIDES))
        height, width, _ = image().shape
        inputs = [{"image": pixels, "height": height, "width": width}]

        def named(found):
            found = found["instances"]
            boxes = found.pred_boxes.tensor
            return {"boxes": boxes, "labels": found.pred_classes + 1, "scores": found.scores}

        yield name, _golden(model, model.proposal_generator, inputs, named)


def _golden(model, rpn, inputs, named):
    import torch

    state = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    arrays = draw({k: v.shape for k, v in state.items()})
    model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()}, strict=False)
    model.eval()
    seen = {}
    model.backbone.register_forward_hook(lambda *args: seen.update(args[-1]))
    rpn.register_forward_hook(lambda *args: seen.update(p=args[-1][0][0]))
    with torch.inference_mode():
        (found,) = model(inputs)
    proposals = seen.pop("p")
    if not isinstance(proposals, torch.Tensor):
        proposals = proposals.proposal_boxes.tensor
    return {
        "shapes": {k: list(v.shape) for k, v in state.items()},
        "level_means": [float(level.mean()) for level in seen.values()],
        "level_deviations": [float(level.std()) for level in seen.values()],
        "proposals": proposals[:20].numpy().round(5).tolist(),
        "num_proposals": len(proposals),
        **{k: v[:20].numpy().round(6).tolist() for k, v in named(found).items()},
    }


def _main(source=None):
    golden = dict(_detectron2(source) if source else _torchvision())
    file = FILES["detectron2" if source else "torchvision"]
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])

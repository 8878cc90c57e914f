"""Weights that NumPy draws by name, so that torchvision and this package can have the same.

Run as a script, in a Python with torch and torchvision, this writes ``data/torchvision.json``: what
torchvision's detectors find with such weights on an image.

    python tests/weights/importers/golden_weights.py
"""

import json
import zlib
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("data") / "torchvision.json"
MODELS = ("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn_v2")
CLASSES = ("cat", "dog")
SIDES = (64, 96)
# Standard deviations of the outputs' weights, times the square root of their inputs.
_OUTPUTS = {"cls_logits": 1.0, "head.bbox_pred": 0.1, "cls_score": 2.0, "predictor.bbox_pred": 0.5}


def draw(shapes):
    """Returns arrays by name; each depends on its own name and shape alone."""
    return {name: _draw(name, tuple(shape)) for name, shape in shapes.items()}


def _draw(name, shape):
    random = np.random.default_rng(zlib.crc32(name.encode()))
    layer, _, part = name.rpartition(".")
    if part == "running_var" or (part == "weight" and len(shape) == 1):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    values = random.standard_normal(shape, np.float32)
    if len(shape) == 1:
        return values * np.float32(0.2)
    gain = next((gain for end, gain in _OUTPUTS.items() if layer.endswith(end)), 1.0)
    return values * np.float32(gain / np.sqrt(np.prod(shape[1:])))


def image():
    """Returns an image with structures of several sizes, uint8 [75, 50, 3]."""
    random = np.random.default_rng(0)
    coarse = np.kron(random.integers(0, 256, (5, 4, 3)), np.ones((16, 16, 1)))[:75, :50]
    return np.clip(coarse + random.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)


def _main():
    import torch
    from torchvision.models import detection

    golden = {}
    for name in MODELS:
        model = getattr(detection, name)(
            weights=None,
            weights_backbone=None,
            num_classes=len(CLASSES) + 1,
            min_size=SIDES[0],
            max_size=SIDES[1],
        )
        state = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
        arrays = draw({k: v.shape for k, v in state.items()})
        model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()}, strict=False)
        model.eval()
        seen = {}
        model.backbone.register_forward_hook(lambda *args, seen=seen: seen.update(args[-1]))
        model.rpn.register_forward_hook(lambda *args, seen=seen: seen.update(p=args[-1][0][0]))
        with torch.inference_mode():
            (found,) = model([torch.from_numpy(image()).permute(2, 0, 1).float() / 255])
        proposals = seen.pop("p")
        golden[name] = {
            "shapes": {k: list(v.shape) for k, v in state.items()},
            "level_means": [float(level.mean()) for level in seen.values()],
            "level_deviations": [float(level.std()) for level in seen.values()],
            "proposals": proposals[:20].numpy().round(5).tolist(),
            "num_proposals": len(proposals),
            **{k: v[:20].numpy().round(6).tolist() for k, v in found.items()},
        }
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    _main()

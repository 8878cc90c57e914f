"""torchvision's side of the check. It runs in an environment with torch, without this package.

    python torchvision_side.py MODEL FOLDER SEED SHORTER_SIDE [WEIGHTS]

It reads ``images.npz`` in the folder. It writes the weights, unless a file of them is given, as
``weights.pkl``, and for each image the levels, the proposals and the detections as ``N.npz``.
"""

import pickle
import sys
from pathlib import Path

import draw
import numpy as np
import torch
from torch import nn
from torchvision.models import detection

# COCO's numbers without a class. The import leaves their outputs out, so random ones are very low.
UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


def main(model_name, folder, seed, shorter_side, weights=None):
    """Writes what the model finds."""
    folder = Path(folder)
    torch.manual_seed(int(seed))
    model = make(model_name, int(shorter_side))
    if weights:
        content = torch.load(weights, map_location="cpu", weights_only=True)
        model.load_state_dict(content)
    else:
        with np.load(folder / "images.npz") as images:
            pixels = torch.from_numpy(images["0"]).permute(2, 0, 1).float() / 255
        randomize(model, model.transform([pixels])[0].tensors)
        arrays = {name: value.numpy() for name, value in model.state_dict().items()}
        (folder / "weights.pkl").write_bytes(pickle.dumps(arrays, 4))
    model.eval()
    if model_name == "fasterrcnn_resnet50_fpn":
        for module in norms_of(model).values():
            module.eps = 0.0  # as torchvision does when it loads the published weights
    seen = {}
    model.transform.register_forward_hook(lambda *args: seen.update(images=args[-1][0]))
    model.backbone.register_forward_hook(lambda *args: seen.update(levels=args[-1]))
    model.rpn.register_forward_hook(lambda *args: seen.update(proposals=args[-1][0][0]))
    with np.load(folder / "images.npz") as images:
        for number in range(len(images.files)):
            pixels = torch.from_numpy(images[str(number)]).permute(2, 0, 1).float() / 255
            with torch.inference_mode():
                (found,) = model([pixels])
            levels = [level[0].permute(1, 2, 0) for level in seen["levels"].values()]
            arrays = {f"level{i}": level for i, level in enumerate(levels)}
            rows, columns = seen["images"].image_sizes[0]
            arrays["input"] = seen["images"].tensors[0, :, :rows, :columns].permute(1, 2, 0)
            arrays |= {"proposals": seen["proposals"], **found}
            arrays = {name: value.numpy() for name, value in arrays.items()}
            np.savez(folder / f"{number}.npz", **arrays)


def make(name, shorter_side):
    """Makes a model like the published one, with its own random weights."""
    sizes = {}
    if shorter_side:  # the longer one in proportion
        longer_over_shorter = 2 if "320" in name else 1333 / 800
        sizes = {"min_size": shorter_side, "max_size": round(shorter_side * longer_over_shorter)}
    return getattr(detection, name)(weights=None, weights_backbone=None, **sizes)


def norms_of(model):
    """Returns the layers of batch normalisation by name."""
    return {k: layer for k, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)}


def randomize(model, images):
    """Draws weights under which every stage has something to decide on images [B, 3, H, W]."""
    for name, module in norms_of(model).items():
        draw.draw_norm(module, is_last=name.endswith("bn3"))
        module.momentum = 1.0
    model.train()
    with torch.no_grad():
        # One step sets the statistics to those of the images, whose features calibrate the rest.
        levels = model.backbone(images)
        head, predictor = model.rpn.head, model.roi_heads.box_predictor
        for conv in head.conv.modules():
            if isinstance(conv, nn.Conv2d):
                draw.calibrate(conv, lambda: head.conv(levels["0"]), 1.0)
        hidden = head.conv(levels["0"])
        # Small, because torchvision ranks by float32 probabilities, of which many would be 1.
        draw.calibrate(head.cls_logits, lambda: head.cls_logits(hidden), 0.5)
        draw.calibrate(head.bbox_pred, lambda: head.bbox_pred(hidden), 0.02)
        pooled = model.roi_heads.box_head(torch.nn.functional.interpolate(levels["0"], (7, 7)))
        draw.calibrate(predictor.cls_score, lambda: predictor.cls_score(pooled), 2.0)
        draw.calibrate(predictor.bbox_pred, lambda: predictor.bbox_pred(pooled), 0.1)
        predictor.cls_score.bias[0] += 2.0
        if len(predictor.cls_score.bias) == 91:
            predictor.cls_score.weight[list(UNUSED)] = 0.0
            predictor.cls_score.bias[list(UNUSED)] = -30.0


if __name__ == "__main__":
    main(*sys.argv[1:])

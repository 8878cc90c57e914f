"""detectron2's side of the check. It runs in an environment with torch, without this package.

    python detectron2_side.py MODEL FOLDER SEED SHORTER_SIDE SOURCE [WEIGHTS]

MODEL is the name of one of detectron2's configurations, and SOURCE the folder of its source, whose
C++ part is not needed. The script reads ``images.npz`` in FOLDER. It writes the weights, unless a
file of them is given, as ``weights.pkl`` in the form of detectron2's published files, and for each
image the levels, the proposals and the detections as ``N.npz``. Images are resized as detectron2's
``DefaultPredictor`` resizes them.
"""

import pickle
import sys
import types
from pathlib import Path

import draw
import numpy as np
import torch


def main(name, folder, seed, shorter_side, source, weights=None):
    """Writes what the model finds."""
    folder, shorter_side = Path(folder), int(shorter_side)
    resize, make = prepare(source)
    torch.manual_seed(int(seed))
    model = make(name)
    sides = (shorter_side, round(shorter_side * 1333 / 800)) if shorter_side else (800, 1333)

    def read(images, number):
        image = images[str(number)]
        pixels = torch.as_tensor(resize(image[:, :, ::-1], *sides))
        return {"image": pixels, "height": image.shape[0], "width": image.shape[1]}

    with np.load(folder / "images.npz") as images:
        if weights:
            load(model, weights)
        else:
            with torch.no_grad():
                randomize(model, model.preprocess_image([read(images, 0)]).tensor)
            arrays = {name: value.numpy() for name, value in model.state_dict().items()}
            content = {"model": arrays, "__author__": "parity"}
            (folder / "weights.pkl").write_bytes(pickle.dumps(content, 4))
        seen = {}
        model.backbone.register_forward_hook(lambda *args: seen.update(levels=args[-1]))
        model.proposal_generator.register_forward_hook(lambda *args: seen.update(p=args[-1][0][0]))
        for number in range(len(images.files)):
            inputs = [read(images, number)]
            pixels = model.preprocess_image(inputs)
            rows, columns = pixels.image_sizes[0]
            with torch.inference_mode():
                (found,) = model(inputs)
            found, levels = found["instances"], seen["levels"].values()
            arrays = {f"level{i}": level[0].permute(1, 2, 0) for i, level in enumerate(levels)}
            arrays |= {
                "input": pixels.tensor[0, :, :rows, :columns].permute(1, 2, 0),
                "proposals": seen["p"].proposal_boxes.tensor,
                "boxes": found.pred_boxes.tensor,
                "scores": found.scores,
                "labels": found.pred_classes,
            }
            np.savez(folder / f"{number}.npz", **{k: v.numpy() for k, v in arrays.items()})


def prepare(source):
    """Makes detectron2 importable from the folder of its source.

    Returns:
        ``resize``, from a BGR image and the lengths of its sides to the input of a model, and
        ``make``, from the name of a configuration and changes of it to a model.
    """
    sys.path.insert(0, source)
    sys.modules["detectron2._C"] = types.ModuleType("detectron2._C")  # of deformable layers alone
    from detectron2.config import get_cfg
    from detectron2.data import transforms
    from detectron2.modeling import build_model

    def resize(image, shorter_side, longer_side):
        rule = transforms.ResizeShortestEdge([shorter_side, shorter_side], longer_side)
        resized = rule.get_transform(image).apply_image(image)
        return resized.astype("float32").transpose(2, 0, 1)

    def make(name, changes=types.MappingProxyType({})):
        config = get_cfg()
        config.merge_from_file(Path(source, "configs", f"{name}.yaml"))
        config.merge_from_list([part for pair in changes.items() for part in pair])
        config.MODEL.DEVICE = "cpu"
        return build_model(config).eval()

    return resize, make


def load(model, path):
    """Gives the model the weights of a published file."""
    from detectron2.checkpoint import DetectionCheckpointer

    DetectionCheckpointer(model).load(path)


def randomize(model, images):
    """Draws weights under which every stage has something to decide on images [B, 3, H, W]."""
    from detectron2.layers import FrozenBatchNorm2d

    def measure(layer, inputs):
        """Sets the statistics to those of what the layer is about to normalise."""
        layer.running_mean.copy_(inputs[0].mean(dim=(0, 2, 3)))
        layer.running_var.copy_(inputs[0].var(dim=(0, 2, 3)))

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, FrozenBatchNorm2d):
            draw.draw_norm(module, is_last=name.endswith("conv3.norm"))
            hooks.append(module.register_forward_pre_hook(measure))
    heads, rpn = model.roi_heads, model.proposal_generator.rpn_head
    features = next(iter(model.backbone(images).values()))
    draw.calibrate(rpn.conv, lambda: rpn.conv(features), 1.0)
    hidden = rpn.conv(features)
    draw.calibrate(rpn.objectness_logits, lambda: rpn.objectness_logits(hidden), 2.0)
    draw.calibrate(rpn.anchor_deltas, lambda: rpn.anchor_deltas(hidden), 0.02)
    if hasattr(heads, "res5"):
        cut = torch.nn.functional.interpolate(features, (14, 14))
        pooled = heads.res5(cut).mean(dim=(2, 3))
    else:
        pooled = heads.box_head(torch.nn.functional.interpolate(features, (7, 7)))
    for hook in hooks:
        hook.remove()
    scores, boxes = heads.box_predictor.cls_score, heads.box_predictor.bbox_pred
    draw.calibrate(scores, lambda: scores(pooled), 2.0)
    draw.calibrate(boxes, lambda: boxes(pooled), 0.1)
    scores.bias[-1] += 2.0  # of background


if __name__ == "__main__":
    main(*sys.argv[1:])

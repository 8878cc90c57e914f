"""Trains torchvision's Faster R-CNN, and detects with its checkpoints; runs where torch is.

    python -m benchmarks.training.torch_side train|detect FOLDER SIDE

``FOLDER`` holds what ``benchmarks.training`` has written.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models.detection import faster_rcnn, rpn, transform

from benchmarks.peers import torch_side

_RGB_MEAN = (123.68, 116.779, 103.939)  # of Caffe's VGG16, whose weights expect BGR
_LOG_EVERY = 20
# torchvision's reference recipe, https://github.com/pytorch/vision/tree/main/references/detection
_USUAL_RATE, _USUAL_BATCH, _USUAL_WARMUP = 0.02, 16, 1000


def make_model(work: dict, weights: list[np.ndarray], side: str) -> nn.Module:
    """Makes a detector with its initial weights.

    Args:
        work: what ``benchmarks.training`` wrote.
        weights: kernels and biases in the order of ``workload.weights``.
        side: "torchvision" for our settings, "torchvision_usual" for its own.
    """
    settings, num_classes = work["settings"], len(work["class_names"])
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    # The images are RGB here, so the first convolution is turned around instead.
    pairs[0] = pairs[0][0][:, :, ::-1], pairs[0][1]
    if side == "torchvision":
        model = torch_side.make_detector(settings, num_classes)
        torch_side.load(model, pairs)
    else:
        backbone = torch_side.make_backbone(settings)
        convolutions = [m for m in backbone if isinstance(m, nn.Conv2d)]
        for layer, pair in zip(convolutions, pairs, strict=False):  # the heads start as they are
            torch_side.load_layer(layer, *pair)
        sizes = ((32, 64, 128, 256, 512),)
        model = faster_rcnn.FasterRCNN(
            backbone,
            num_classes + 1,
            rpn_anchor_generator=rpn.AnchorGenerator(sizes, ((0.5, 1.0, 2.0),)),
            rpn_head=torch_side.Float32RPNHead(torch_side.CHANNELS, 3 * len(sizes[0])),
            box_score_thresh=settings["score_threshold"],
        )
        width = model.roi_heads.box_predictor.cls_score.in_features
        model.roi_heads.box_predictor = torch_side.Float32Predictor(width, num_classes + 1)
    model.roi_heads.box_roi_pool = RoIAlign()
    model.transform = transform.GeneralizedRCNNTransform(
        *(settings["shorter_side"], settings["longer_side"]),
        [value / 255 for value in _RGB_MEAN],
        [1 / 255] * 3,
    )
    return model.to(memory_format=torch.channels_last)


def make_optimizer(model, settings, side: str):
    """Returns the optimizer and the function that gives its learning rate's factor at a step."""
    if side == "torchvision":
        return torch_side.make_optimizer(model, settings), lambda step: min(
            1.0, (step + 1) / max(settings["warmup_steps"], 1)
        )
    trained = [p for p in model.parameters() if p.requires_grad]
    rate = _USUAL_RATE * settings["batch_size"] / _USUAL_BATCH
    optimizer = torch.optim.SGD(trained, lr=rate, momentum=0.9, weight_decay=1e-4, fused=True)
    return optimizer, lambda step: min(1.0, 1e-3 + step / _USUAL_WARMUP)


def train(folder: Path, work: dict, side: str) -> None:
    """Trains until the minutes are over; writes a checkpoint at each quarter."""
    settings, own = work["settings"], folder / side
    own.mkdir()
    torch.manual_seed(settings["seed"])
    model = make_model(work, _weights(folder), side).train()
    optimizer, factor = make_optimizer(model, settings, side)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    box_weight = settings["rpn_box_loss_weight"] if side == "torchvision" else 1
    steps, seen, started = [], [], time.perf_counter()
    quarter = 60 * work["minutes"] / work["quarters"]
    for step, rows in enumerate(_batches(work["train"], settings), start=1):
        images, targets = zip(*map(_example, rows), strict=True)
        with _autocast(settings):
            losses = model(list(images), list(targets))
        losses["loss_rpn_box_reg"] = losses["loss_rpn_box_reg"] * box_weight
        optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        if side == "torchvision" and settings["gradient_clip_norm"]:
            nn.utils.clip_grad_norm_(
                model.parameters(), settings["gradient_clip_norm"], foreach=True
            )
        optimizer.step()
        schedule.step()
        seen.append(sum(loss.item() for loss in losses.values()))
        passed = time.perf_counter() - started
        if step % _LOG_EVERY == 0:
            print(
                f"step {step}, {passed:.0f} s, loss {np.mean(seen[-_LOG_EVERY:]):.3f}", flush=True
            )
        if passed >= quarter * (len(steps) + 1):
            steps.append(step)
            torch.save(model.state_dict(), own / f"{len(steps)}.pt")
        if len(steps) == work["quarters"]:
            break
    (own / "steps.json").write_text(json.dumps(steps), encoding="utf-8")


def detect(folder: Path, work: dict, side: str) -> None:
    """Detects in all images of the evaluation with each checkpoint."""
    model = make_model(work, _weights(folder), side).eval()
    for quarter in range(1, work["quarters"] + 1):
        model.load_state_dict(torch.load(folder / side / f"{quarter}.pt", weights_only=True))
        out = folder / side / str(quarter)
        out.mkdir()
        for number, row in enumerate(work["eval"]):
            with torch.inference_mode(), _autocast(work["settings"]):
                found = model([_image(row["path"])])[0]
            np.savez(
                out / f"{number}.npz",
                boxes=found["boxes"][:, torch_side.Y_FIRST].float().numpy(),
                scores=found["scores"].float().numpy(),
                labels=found["labels"].numpy().astype(np.int32) - 1,
            )


class RoIAlign(torchvision.ops.MultiScaleRoIAlign):
    """RoIAlign of one level in float32, also under autocast."""

    def __init__(self):
        super().__init__(["0"], output_size=7, sampling_ratio=2)

    def forward(self, x, boxes, image_shapes):
        return super().forward({"0": x["0"].float()}, boxes, image_shapes)


def _weights(folder):
    with np.load(folder / "weights.npz") as arrays:
        return [arrays[f"arr_{number}"] for number in range(len(arrays))]


def _autocast(settings):
    is_mixed = settings["precision"] == "mixed_bfloat16"
    return torch.autocast("cpu", torch.bfloat16, enabled=is_mixed)


def _batches(rows, settings):
    """Yields batches for ever. Images of a batch are all upright or all wide, as with ours."""
    random, size = np.random.default_rng(settings["seed"]), settings["batch_size"]
    is_wide = np.array([_is_wide(row["path"]) for row in rows])
    while True:
        order = random.permutation(len(rows))
        groups = [order[is_wide[order] == kind] for kind in (False, True)]
        batches = [group[i : i + size] for group in groups for i in range(0, len(group), size)]
        for number in random.permutation(len(batches)):
            yield [rows[i] | {"flip": random.random() < 0.5} for i in batches[number]]


def _is_wide(path):
    from PIL import Image

    with Image.open(path) as image:
        return image.width > image.height


def _image(path):
    image = torchvision.io.read_image(path, torchvision.io.ImageReadMode.RGB)
    return image.float() / 255


def _example(row):
    """Returns the image and the target of a row, flipped if the row says so."""
    image = _image(row["path"])
    boxes = torch.tensor(row["boxes"], dtype=torch.float32).reshape(-1, 4)
    if row["flip"]:
        image, width = image.flip(-1), image.shape[-1]
        boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    return image, {"boxes": boxes, "labels": torch.tensor(row["labels"], dtype=torch.int64) + 1}


def main() -> None:
    """Runs what the command line names."""
    what, folder, side = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_flush_denormal(True)
    work = json.loads((folder / "work.json").read_text(encoding="utf-8"))
    {"train": train, "detect": detect}[what](folder, work, side)


if __name__ == "__main__":
    main()

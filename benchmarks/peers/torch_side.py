"""torchvision's side of the comparison: its Faster R-CNN, set up like ours.

It runs with torch's best settings for CPUs. Every setting of torchvision is taken from ours. Parts
that it has no setting for are replaced by modules of a few lines: VGG16 for its backbones, RoIPool
for RoIAlign, the paper's head with dropout, no resizing. Proposals, sampling, suppression and
losses are computed by torchvision's own code.
"""

import contextlib
import functools
import itertools
import math

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models.detection import faster_rcnn, image_list, rpn
from torchvision.ops import roi_pool

from benchmarks.peers import workload

STRIDE = 16
CHANNELS = 512
Y_FIRST = [1, 0, 3, 2]  # converts xyxy to yxyx and back


class Side:
    """One job, ready to be called; see ``benchmarks.peers.worker``."""

    def __init__(self, job: workload.Job):
        torch.set_num_threads(job.threads)
        torch.set_flush_denormal(True)
        self.job = job
        self.training = job.what == "train_step"
        self.versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
        self.model = make_detector(job.settings, workload.NUM_CLASSES).train(self.training)
        load(self.model, workload.weights(job.settings))
        self.model.to(memory_format=torch.channels_last)
        self._images = torch.from_numpy(workload.images(job))
        self._sizes = itertools.cycle(job.sizes)
        if self.training:
            self.optimizer = make_optimizer(self.model, job.settings)
        elif job.precision == "bfloat16":
            # Converted once here, instead of by autocast in every call.
            for module in self.model.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    module.to(torch.bfloat16)

    def call(self):
        """Makes one prediction or one training step."""
        return self._call(next(self._sizes))

    def _call(self, size):
        images, targets = self._batch(*size)
        return self._train_step(images, targets) if self.training else self._predict(images)

    @functools.lru_cache(maxsize=1)  # noqa: B019 - a side lives as long as its process
    def _batch(self, height, width):
        """Returns images and targets of one size."""
        images = self._images[:, :height, :width].permute(0, 3, 1, 2)
        boxes, labels = (
            torch.from_numpy(array) for array in workload.objects(self.job, (height, width))
        )
        boxes = boxes[..., Y_FIRST]
        targets = [{"boxes": b, "labels": c + 1} for b, c in zip(boxes, labels, strict=True)]
        return images.contiguous(memory_format=torch.channels_last), targets

    def _predict(self, images):
        with torch.inference_mode(), self._autocast():
            return self.model(images)

    def _train_step(self, images, targets):
        with self._autocast():
            losses = self.model(images, targets)
            loss = sum(losses.values())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.job.settings["gradient_clip_norm"]:
            nn.utils.clip_grad_norm_(
                self.model.parameters(), self.job.settings["gradient_clip_norm"], foreach=True
            )
        self.optimizer.step()
        return {name: float(value) for name, value in losses.items()}

    def counts(self) -> dict[str, int]:
        """Returns the amounts of work, as ``benchmarks.peers.worker`` describes them."""
        answer, seen = self._watched_call()
        found = {} if self.training else {"detections": sum(len(a["boxes"]) for a in answer)}
        head = [m.weight.numel() for m in self.model.roi_heads.modules() if type(m) is nn.Linear]
        return {
            "proposals": sum(map(len, seen["proposals"][0])),
            "regions": len(seen["pooled"]),
            **found,
            "head_weights": sum(head),
            "trained_weights": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
        }

    def outputs(self) -> dict[str, np.ndarray]:
        """Returns the results of a prediction, as ``benchmarks.peers.worker`` describes them."""
        answer, seen = self._watched_call()
        s = self.job.settings
        logits = seen["rpn_head"][0][0].permute(0, 2, 3, 1)
        boxes = [a["boxes"][:, Y_FIRST] for a in answer]
        proposals = [p[:, Y_FIRST] for p in seen["proposals"][0]]
        labels = [a["labels"] - 1 for a in answer]
        return {
            "features": seen["features"].permute(0, 2, 3, 1).float().numpy(),
            "objectness": logits.reshape(len(logits), -1).numpy(),
            "proposals": padded(proposals, s["test_post_nms_top_k"]),
            "boxes": padded(boxes, s["max_detections"]),
            "scores": padded([a["scores"] for a in answer], s["max_detections"]),
            "labels": padded(labels, s["max_detections"], -1),
        }

    def _watched_call(self):
        """Returns the answer of one call, and the outputs of some modules during it."""
        model, seen = self.model, {}
        watched = {
            "features": model.backbone,
            "rpn_head": model.rpn.head,
            "proposals": model.rpn,
            "pooled": model.roi_heads.box_roi_pool,
        }
        hooks = [
            module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
            for name, module in watched.items()
        ]
        answer = self._call(self.job.sizes[0])
        for hook in hooks:
            hook.remove()
        return answer, seen

    def _autocast(self):
        if self.job.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast("cpu", torch.bfloat16)


def make_backbone(settings) -> nn.Sequential:
    """Makes VGG16's convolutions, some of them frozen."""
    backbone = torchvision.models.vgg16(weights=None, init_weights=False).features[:-1]
    backbone.out_channels = CHANNELS
    num_frozen = sum(
        convolutions for _, convolutions in workload.VGG16[: settings["frozen_blocks"]]
    )
    for frozen in [m for m in backbone if isinstance(m, nn.Conv2d)][:num_frozen]:
        frozen.requires_grad_(False)
    return backbone


def make_detector(settings, num_classes: int) -> faster_rcnn.FasterRCNN:
    """Makes torchvision's detector with our settings."""
    s = settings
    num_anchors = len(s["scales"]) * len(s["ratios"])
    detector = faster_rcnn.FasterRCNN(
        make_backbone(s),
        rpn_anchor_generator=Anchors(s["scales"], s["ratios"]),
        rpn_head=Float32RPNHead(CHANNELS, num_anchors),
        rpn_pre_nms_top_n_train=s["train_pre_nms_top_k"],
        rpn_pre_nms_top_n_test=s["test_pre_nms_top_k"],
        rpn_post_nms_top_n_train=s["train_post_nms_top_k"],
        rpn_post_nms_top_n_test=s["test_post_nms_top_k"],
        rpn_nms_thresh=s["rpn_nms_iou_threshold"],
        rpn_fg_iou_thresh=s["rpn_fg_iou_threshold"],
        rpn_bg_iou_thresh=s["rpn_bg_iou_threshold"],
        rpn_batch_size_per_image=s["rpn_num_samples"],
        rpn_positive_fraction=s["rpn_fg_fraction"],
        box_head=make_head(s),
        box_predictor=Float32Predictor(s["head_units"][-1], num_classes + 1),
        box_score_thresh=s["score_threshold"],
        box_nms_thresh=s["nms_iou_threshold"],
        box_detections_per_img=s["max_detections"],
        box_fg_iou_thresh=s["roi_fg_iou_threshold"],
        box_bg_iou_thresh=s["roi_bg_iou_threshold"],
        box_batch_size_per_image=s["roi_num_samples"],
        box_positive_fraction=s["roi_fg_fraction"],
        bbox_reg_weights=tuple(1 / s["box_delta_std"][i] for i in Y_FIRST),
    )
    detector.rpn.min_size = s["min_size"]
    detector.roi_heads.box_roi_pool = RoIPool(s["pool_size"])
    detector.transform = NoTransform()
    return detector


def make_head(settings) -> nn.Sequential:
    """Makes the paper's fc6 and fc7, with dropout, as in our head."""
    width, layers = settings["pool_size"] ** 2 * CHANNELS, [nn.Flatten()]
    for units in settings["head_units"]:
        layers += [
            nn.Linear(width, units),
            nn.ReLU(inplace=True),
            nn.Dropout(settings["head_dropout"]),
        ]
        width = units
    return nn.Sequential(*layers)


def make_optimizer(model, settings) -> torch.optim.Optimizer:
    """Makes our optimizer in one pass over memory; biases learn faster and do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    rate, is_adam = settings["learning_rate"], settings["optimizer"] == "adam"
    # Our factor scales the gradients of biases, to which Adam is indifferent.
    factor = 1 if is_adam else settings["bias_lr_factor"]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings["weight_decay"]},
        {"params": [p for p in trained if p.ndim == 1], "lr": rate * factor},
    ]
    if is_adam:
        return torch.optim.Adam(groups, lr=rate, eps=1e-7, fused=True)
    return torch.optim.SGD(groups, lr=rate, momentum=settings["momentum"], fused=True)


class NoTransform(nn.Module):
    """Passes images on as they are: normalised and of one size, as our detector gets them."""

    def forward(self, images, targets=None):
        return image_list.ImageList(images, [tuple(images.shape[-2:])] * len(images)), targets

    def postprocess(self, detections, *sizes):
        return detections


class Anchors(rpn.AnchorGenerator):
    """Anchors of one level, not rounded, centred in their cells, float32 also under autocast."""

    def __init__(self, scales, ratios):
        super().__init__((tuple(scales),), (tuple(ratios),))
        sides = [
            (scale / math.sqrt(ratio), scale * math.sqrt(ratio))
            for ratio in ratios
            for scale in scales
        ]
        half = torch.tensor(sides) / 2
        self.cell_anchors = [torch.cat([-half, half], dim=1) + STRIDE / 2]

    def forward(self, images, feature_maps):
        return super().forward(images, [torch.empty(1, 1, *f.shape[-2:]) for f in feature_maps])


class Float32RPNHead(rpn.RPNHead):
    """Returns float32 also under autocast: bfloat16 boxes would be off by up to 2 pixels."""

    def forward(self, x):
        logits, deltas = super().forward(x)
        return [t.float() for t in logits], [t.float() for t in deltas]


class Float32Predictor(faster_rcnn.FastRCNNPredictor):
    """Returns float32 also under autocast."""

    def forward(self, x):
        return tuple(t.float() for t in super().forward(x))


class RoIPool(nn.Module):
    """Fast R-CNN's max pooling in place of ``MultiScaleRoIAlign``, in float32, its only type."""

    def __init__(self, pool_size):
        super().__init__()
        self.pool_size = pool_size

    def forward(self, features, rois, image_shapes):
        return roi_pool(features["0"].float(), rois, self.pool_size, 1 / STRIDE)


def padded(rows, length, value=0) -> np.ndarray:
    """Joins tensors of at most ``length`` rows to one array [B, length, ...]."""
    array = np.full((len(rows), length, *rows[0].shape[1:]), value, np.float32)
    for one, of_image in zip(array, rows, strict=True):
        one[: len(of_image)] = of_image.numpy()
    return array


def load(model, weights) -> None:
    """Copies weights, in Keras' layout and with y-first boxes, into the layers, in order."""
    convolutions = [m for m in model.backbone if isinstance(m, nn.Conv2d)]
    head, predictor = model.roi_heads.box_head, model.roi_heads.box_predictor
    dense = [m for m in head if isinstance(m, nn.Linear)]
    rpn_head = model.rpn.head
    layers = [
        *convolutions,
        rpn_head.conv[0][0],
        rpn_head.cls_logits,
        rpn_head.bbox_pred,
        *dense,
        predictor.cls_score,
        predictor.bbox_pred,
    ]
    for layer, (kernel, bias) in zip(layers, weights, strict=True):
        if layer is rpn_head.cls_logits:  # one logit, the difference of our two
            kernel, bias = kernel[..., 1::2] - kernel[..., ::2], bias[1::2] - bias[::2]
        elif layer in (rpn_head.bbox_pred, predictor.bbox_pred):
            kernel = kernel.reshape(*kernel.shape[:-1], -1, 4)[..., Y_FIRST].reshape(kernel.shape)
            bias = bias.reshape(-1, 4)[:, Y_FIRST].ravel()
        elif dense and layer is dense[0]:  # torch flattens channels, rows, columns
            size = model.roi_heads.box_roi_pool.pool_size
            kernel = kernel.reshape(size, size, CHANNELS, -1).transpose(2, 0, 1, 3)
            kernel = kernel.reshape(-1, kernel.shape[-1])
        load_layer(layer, kernel, bias)


def load_layer(layer, kernel, bias) -> None:
    """Copies a kernel in Keras' layout and a bias into a layer."""
    axes = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel.transpose(axes))))
        layer.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))

"""Settings of the model: everything that is needed to rebuild and use a trained detector."""

import dataclasses
import functools

from keras_frcnn.config.concern import Problem
from keras_frcnn.config.network import NetworkConfig
from keras_frcnn.config.setting import (
    CODE,
    FRACTION,
    NOT_NEGATIVE,
    PAPER,
    POSITIVE,
    Limits,
    setting,
)

_rpn = functools.partial(setting, group="rpn")
_roi = functools.partial(setting, group="roi")
_loss = functools.partial(setting, group="loss")
_detections = functools.partial(setting, group="detections")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(NetworkConfig):
    """The structure of a detector, and how it detects. Every checkpoint holds these settings."""

    seed: int = setting(
        0,
        "Seed of all random numbers: the same seed gives the same run.",
        group="run",
        limits=NOT_NEGATIVE,
    )
    precision: str = setting(
        "auto",
        "Number format of the convolutions and dense layers; boxes and losses are always float32. "
        "'auto' is mixed_bfloat16 if the CPU or GPU supports it in hardware, or else float32. A "
        "model that is not trained then also stores its weights as bfloat16.",
        group="run",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16"),
    )
    shorter_side: int = setting(
        600,
        "Images are scaled so that their shorter side has this many pixels.",
        group="data",
        limits=POSITIVE,
        source=PAPER,
        common=True,
    )
    longer_side: int = setting(
        1000,
        "Images are scaled down further if their longer side would have more pixels than this.",
        group="data",
        limits=POSITIVE,
        source=CODE,
    )
    resize_rounding: str = setting(
        "nearest",
        "How the sides of a resized image become whole numbers: 'nearest', or 'down' with "
        "torchvision's arithmetic.",
        group="data",
        choices=("nearest", "down"),
    )
    resize_filter: str = setting(
        "bilinear",
        "How pixels are resized: 'bilinear' is fast; 'pillow' is the bilinear filter of Pillow, "
        "which reads all pixels of images that become smaller, as in detectron2.",
        group="data",
        choices=("bilinear", "pillow"),
    )
    pixel_std: float = setting(
        1.0,
        "Number by which pixels are divided after the mean is subtracted. Use 1 with pretrained "
        "ImageNet weights, and about 58 to train from random weights.",
        group="data",
        limits=POSITIVE,
    )
    scheme: str = setting(
        "joint",
        "Training scheme. 'joint' trains both stages together, without a gradient through the "
        "proposals' coordinates (approximate joint training). 'non_approximate' adds that "
        "gradient; it needs roi_pooling=align and an rpn_box_loss_weight of 10 to 50. "
        "'alternating' takes the paper's four steps. 'unshared' stops after the first two steps, "
        "when the RPN and the detector still have their own convolutions.",
        group="training",
        choices=("joint", "non_approximate", "alternating", "unshared"),
    )

    # --- region proposal network
    rpn_fg_iou_threshold: float = _rpn(
        0.7,
        "An anchor is foreground if its IoU with an object is at least this.",
        limits=FRACTION,
        source=f"{PAPER}, section 3.1.2",
    )
    rpn_bg_iou_threshold: float = _rpn(
        0.3,
        "An anchor is background if its IoU with every object is below this.",
        limits=FRACTION,
        source=f"{PAPER}, section 3.1.2",
    )
    rpn_num_samples: int = _rpn(
        256,
        "Number of anchors that are sampled per image for the RPN's losses.",
        limits=POSITIVE,
        source=f"{PAPER}, section 3.1.3",
    )
    rpn_fg_fraction: float = _rpn(
        0.5,
        "Largest fraction of foreground anchors among the sampled ones.",
        limits=FRACTION,
        source=f"{PAPER}, section 3.1.3",
    )
    rpn_border_anchors: bool = _rpn(
        False,
        "Whether anchors that cross the image border are used in the RPN's losses.",
        source=PAPER,
        pyramid=True,
    )
    rpn_score_threshold: float = _rpn(
        0.0, "Proposals with a lower score are dropped.", limits=FRACTION
    )
    rpn_nms_iou_threshold: float = _rpn(
        0.7,
        "A proposal is suppressed if its IoU with a higher-scoring one is above this.",
        limits=FRACTION,
        source=PAPER,
    )
    train_pre_nms_top_k: int = _rpn(
        12000,
        "Number of highest-scoring boxes per feature level that enter suppression in training.",
        limits=POSITIVE,
        source=CODE,
        pyramid=2000,
    )
    train_post_nms_top_k: int = _rpn(
        2000, "Largest number of proposals per image in training.", limits=POSITIVE, source=PAPER
    )
    test_pre_nms_top_k: int = _rpn(
        6000,
        "Number of highest-scoring boxes per feature level that enter suppression at test time.",
        limits=POSITIVE,
        source=CODE,
        pyramid=1000,
    )
    test_post_nms_top_k: int = _rpn(
        300,
        "Largest number of proposals per image at test time.",
        limits=POSITIVE,
        source=PAPER,
        pyramid=1000,
    )
    min_size: float = _rpn(
        16.0,
        "Proposals with a side shorter than this, in pixels of the original image, are dropped.",
        limits=NOT_NEGATIVE,
        source=CODE,
        pyramid=0.0,
    )
    train_proposals: str = _rpn(
        "rpn",
        "Regions that the second stage is trained on: 'rpn' for the RPN's proposals, 'dense' for "
        "all anchors, or a proposals file (.npz or .json, see keras-frcnn propose) with an entry "
        "for every image that is used. The best train_post_nms_top_k proposals per image are taken "
        "from a file. With 'dense' or a file, only the second stage is trained.",
        limits=Limits(nonempty=True),
    )
    test_proposals: str = _rpn(
        "rpn",
        "Regions that the second stage classifies in evaluation: 'rpn', 'dense' or a proposals "
        "file, as for train_proposals. The best test_post_nms_top_k proposals per image are taken "
        "from a file. With a file, detection on new images and exported models use the RPN's "
        "proposals instead.",
        limits=Limits(nonempty=True),
    )
    test_ranked_proposals: bool = _rpn(
        True,
        "Whether the RPN's highest-scoring proposals are used at test time. If false, proposals "
        "are drawn at random, without suppression ('no cls' in table 2 of the paper).",
    )
    test_regressed_proposals: bool = _rpn(
        True,
        "Whether the RPN's regression is applied to the anchors at test time. If false, the "
        "anchors themselves are proposed ('no reg' in table 2 of the paper).",
    )

    # --- sampled regions
    roi_fg_iou_threshold: float = _roi(
        0.5, "A proposal is foreground if its IoU with an object is at least this.", limits=FRACTION
    )
    roi_bg_iou_threshold: float = _roi(
        0.5,
        "A proposal is background if its highest IoU with an object is below this and at least "
        "roi_bg_iou_threshold_low.",
        limits=FRACTION,
    )
    roi_bg_iou_threshold_low: float = _roi(
        0.0,
        "Lowest IoU of background proposals. The paper uses 0.1 and the released code 0.",
        limits=FRACTION,
        source=CODE,
    )
    roi_num_samples: int = _roi(
        128,
        "Number of regions that are sampled per image for the box head's losses.",
        limits=POSITIVE,
        source=CODE,
        pyramid=512,
    )
    roi_fg_fraction: float = _roi(
        0.25, "Largest fraction of foreground among the regions.", limits=FRACTION, source=CODE
    )
    append_gt_boxes: bool = _roi(
        True, "Whether ground-truth boxes join the proposals before sampling.", source=CODE
    )

    # --- losses
    rpn_smooth_l1_beta: float = _loss(
        1 / 9,
        "Error at which the RPN's smooth L1 loss becomes linear: 1 / sigma^2 in the released code.",
        limits=POSITIVE,
        source=CODE,
    )
    roi_smooth_l1_beta: float = _loss(
        1.0,
        "Error at which the box head's smooth L1 loss becomes linear.",
        limits=POSITIVE,
        source=CODE,
    )
    roi_box_loss: str = _loss(
        "smooth_l1",
        "The box head's box loss: 'smooth_l1' of the deltas, or 'giou', 1 minus the generalised "
        "IoU of the boxes (Rezatofighi et al. 2019), whose roi_box_loss_weight is usually 10.",
        choices=("smooth_l1", "giou"),
        source=PAPER,
    )
    roi_box_loss_weight: float = _loss(
        1.0, "Weight of the box head's box loss.", limits=NOT_NEGATIVE, source=PAPER
    )
    rpn_box_normalizer: str = _loss(
        "samples",
        "Number by which the RPN's box loss is divided: 'samples' is rpn_num_samples, as in the "
        "released code; 'positions' is the number of anchor positions, as in the paper, and should "
        "be combined with an rpn_box_loss_weight of 10.",
        choices=("samples", "positions"),
        source=CODE,
    )
    rpn_box_loss_weight: float = _loss(
        1.0,
        "Weight of the RPN's box loss. The paper calls it lambda and sets it to 10.",
        limits=NOT_NEGATIVE,
        source=CODE,
    )
    weight_decay: float = _loss(
        5e-4,
        "L2 regularisation as in Caffe: weight_decay * w is added to the gradient of a kernel w.",
        limits=NOT_NEGATIVE,
        source=PAPER,
    )
    decay_biases: bool = _loss(
        False, "Whether weight_decay applies to biases too, as in the released code."
    )
    bias_lr_factor: float = setting(
        2.0,
        "Learning rate of the biases divided by that of the kernels; of little effect with Adam.",
        group="training",
        limits=POSITIVE,
        source=CODE,
    )

    # --- detections
    score_threshold: float = _detections(
        0.05,
        "Detections with a lower score are dropped.",
        limits=FRACTION,
        source=CODE,
        common=True,
    )
    nms_iou_threshold: float = _detections(
        0.3,
        "A detection is suppressed if its IoU with a better one of its class is above this.",
        limits=FRACTION,
        source=CODE,
        pyramid=0.5,
    )
    soft_nms_sigma: float = _detections(
        0.0,
        "If above 0, overlapping detections of a class are not dropped: a better one multiplies "
        "their scores by exp(-IoU^2 / soft_nms_sigma) (Soft-NMS, Bodla et al. 2017, which uses "
        "0.5). nms_iou_threshold then has no effect.",
        limits=NOT_NEGATIVE,
    )
    max_detections: int = _detections(
        100, "Largest number of detections per image, in total.", limits=POSITIVE, source=CODE
    )

    def contradictions(self) -> list[Problem]:
        """Returns the contradictions between the settings of the model."""
        uses_whole_rpn = self.test_ranked_proposals and self.test_regressed_proposals
        rules = [
            (
                self.longer_side < self.shorter_side,
                "{longer_side} ({longer_side.value}) is below {shorter_side} "
                "({shorter_side.value})",
            ),
            (
                self.rpn_bg_iou_threshold > self.rpn_fg_iou_threshold,
                "{rpn_bg_iou_threshold} is above {rpn_fg_iou_threshold}: an anchor could be both "
                "foreground and background",
            ),
            (
                self.roi_bg_iou_threshold > self.roi_fg_iou_threshold,
                "{roi_bg_iou_threshold} is above {roi_fg_iou_threshold}: a region could be both "
                "foreground and background",
            ),
            (
                self.roi_bg_iou_threshold_low > self.roi_bg_iou_threshold,
                "{roi_bg_iou_threshold_low} is above {roi_bg_iou_threshold}: no background would "
                "be left",
            ),
            (
                self.scheme == "non_approximate" and self.roi_pooling != "align",
                "{scheme}=non_approximate needs {roi_pooling}=align: max pooling rounds the "
                "proposals' coordinates, so they have no gradient",
            ),
            (
                self.train_proposals != "rpn" and self.test_proposals == "rpn",
                "{test_proposals}=rpn needs a trained RPN, but with "
                "{train_proposals}={train_proposals.value} the RPN is not trained: use a proposals "
                "file or 'dense'",
            ),
            (
                self.test_proposals != "rpn" and not uses_whole_rpn,
                "{test_ranked_proposals} and {test_regressed_proposals} need {test_proposals}=rpn. "
                "Received: {test_proposals}={test_proposals.value}",
            ),
            (
                self.scheme != "joint" and self.train_proposals != "rpn",
                "{scheme}={scheme.value} trains on the RPN's own proposals: "
                "{train_proposals}={train_proposals.value} needs {scheme}=joint",
            ),
        ]
        wrong = [self._problem(sentence) for is_wrong, sentence in rules if is_wrong]
        return [*super().contradictions(), *wrong]

    @property
    def resolved_frozen_blocks(self) -> int:
        """``frozen_blocks`` with -1 resolved to 0, because the initial weights are not known here.

        ``Config`` knows them and overrides this. ``Config.model_config`` stores the resolved value.
        """
        return max(0, self.frozen_blocks)

    @property
    def needs_proposals_file(self) -> bool:
        """Whether the detector can only classify the regions of a proposals file.

        Such a detector can be evaluated on the images of the file, but it can neither detect
        objects in new images nor be exported.
        """
        is_file = self.test_proposals not in ("rpn", "dense")
        return is_file and self.train_proposals != "rpn"

    def check_detects(self) -> None:
        """Raises a ``ValueError`` if the detector cannot detect in new images."""
        if self.needs_proposals_file:
            raise ValueError(
                "the RPN of this detector was not trained, because of train_proposals="
                f"{self.train_proposals}. The detector can be evaluated on the proposals of "
                "a file, but it can neither detect on other images nor be exported"
            )

    def sizes(self, shorter_sides: tuple[int, ...]) -> list[tuple[int, int]]:
        """Returns ``(shorter_side, longer_side)`` for each shorter side, in proportion to the
        settings; for an empty tuple, returns those of the settings.
        """
        shorter, longer = self.shorter_side, self.longer_side
        return [
            (side, (2 * side * longer + shorter) // (2 * shorter))
            for side in shorter_sides or [shorter]
        ]

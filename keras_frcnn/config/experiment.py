"""Every setting of the package, once: name, type, default, help and source.

``Config`` is the single place where a setting is defined. The command line (``flags.py``), the run
folder's ``config.cfg`` and the model's ``get_config`` are all made from its fields, so a new
setting is one new field.

Sources named in the help texts: *paper* is Ren et al. 2015 (arXiv 1506.01497), *code* the authors'
released py-faster-rcnn. Where they differ both can be chosen; docs/differences.md argues for each
default.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, get_args, get_origin


def _setting(default: Any, help: str, *, group: str, choices: tuple[str, ...] = ()) -> Any:
    """Declares one field: its default, the help a user reads, its group in ``--help`` and its
    allowed values.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "group": group, "choices": choices}
    )


_JOINED, _NONE = "+", "-"  # in entries of train_split and eval_split


@dataclasses.dataclass(frozen=True)
class DataSource:
    """One dataset of a ``Config``, as its reader takes it.

    Attributes:
        dataset: its form, one of the setting's.
        data_dir: its folder; empty if it has none.
        splits: its image sets.
        on_bad_record: the setting of this name.
        classes_file: likewise, for data that have only numbers of classes.
        annotated: whether objects are wanted; else annotations are not looked at, and readers of
            VOC's and COCO's form need none.
    """

    dataset: str
    data_dir: str
    splits: tuple[str, ...]
    on_bad_record: str
    classes_file: str = ""
    annotated: bool = True

    @property
    def place(self) -> str:
        """Words for it in messages."""
        return f"{self.dataset} in {self.data_dir}" if self.data_dir else self.dataset


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one experiment. Immutable; ``validate`` names every contradiction in one
    error. A plain text given for a list of texts is a list of one.
    """

    # --- the run
    output_dir: str = _setting(
        "", "Folder of the run: checkpoints, logs, the resolved config.", group="run"
    )
    seed: int = _setting(0, "The one source of randomness: same seed, same run.", group="run")
    precision: str = _setting(
        "auto",
        "Arithmetic of the convolutions and dense layers; boxes and losses are always float32. "
        "'auto' takes "
        "mixed_bfloat16 where the processor or GPU has it in hardware, else float32. A model that "
        "does not learn keeps its weights as bfloat16 then.",
        group="run",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16", "bfloat16"),
    )
    deterministic: bool = _setting(
        False,
        "Make TensorFlow's kernels deterministic: two runs agree to the bit, at some cost in "
        "speed.",
        group="run",
    )

    # --- data
    dataset: tuple[str, ...] = _setting(
        ("voc",),
        "Form of the data under data_dir: VOC's folders of XML, COCO's JSON, TFRecords of "
        "tf.Example, or the data sets of TensorFlow Datasets (TFDS). Several, as in voc,coco, are "
        "joined: the first one's classes count, those of the others are matched by name "
        "(diningtable = Dining Table, aeroplane = airplane), and objects of classes that match "
        "none are left out, counted and named: what they cover is background.",
        group="data",
        choices=("voc", "coco", "tfrecord", "tfds"),
    )
    data_dir: tuple[str, ...] = _setting(
        (),
        "Folder of the data: a VOCdevkit, one VOCxxxx folder, COCO's folder with annotations/ in "
        "it, or own data in either layout; a folder of TFRecords; TFDS's (none: its default). Of "
        "several datasets one folder each, - for one that needs none, or one for all.",
        group="data",
    )
    train_split: tuple[str, ...] = _setting(
        ("trainval",),
        "Image sets to train on: of each dataset one entry, which joins image sets by + and is - "
        "for none; entries for a lone dataset are joined too. In a VOCdevkit "
        "VOC2007/trainval+VOC2012/trainval; of COCO train2017, or the path of a .json file, with "
        ":FOLDER after it if its images lie elsewhere; of TFRecords train or a pattern, "
        "train-*.tfrecord; of TFDS voc/2007:train+validation.",
        group="data",
    )
    eval_split: tuple[str, ...] = _setting(
        ("test",),
        "Image sets to evaluate on, likewise; - alone: train without evaluations.",
        group="data",
    )
    classes_file: str = _setting(
        "",
        "Text file with one class name a line, to which those of the data are matched; without it "
        "the classes are found in the annotations.",
        group="data",
    )
    difficult: str = _setting(
        "auto",
        "VOC's objects marked difficult and COCO's crowd regions, in training: dropped, kept as "
        "objects, or ignored (neither object nor background: what lies mostly inside is not "
        "learned from). 'auto' drops VOC's (code) and ignores COCO's, in joined data too.",
        group="data",
        choices=("auto", "drop", "keep", "ignore"),
    )
    include_empty: bool = _setting(
        True,
        "Train on images without objects too, as pure background: also on those whose objects "
        "are all of classes left out.",
        group="data",
    )
    on_bad_record: str = _setting(
        "error",
        "What to do with an unreadable image, broken annotation or impossible box: stop with an "
        "error that names "
        "it, or skip it, counted and named.",
        group="data",
        choices=("error", "skip"),
    )
    check_images: bool = _setting(
        True,
        "Decode every image once before training or evaluation, so that a broken one is found at "
        "once: about 1 ms an image and core. Without it, it stops the run where it comes up.",
        group="data",
    )
    shorter_side: int = _setting(
        600, "Images are scaled so that the shorter side has this many pixels.", group="data"
    )
    longer_side: int = _setting(
        1000, "... but the longer side no more than this (code).", group="data"
    )
    pixel_std: float = _setting(
        1.0,
        "Pixels are divided by this after the mean is subtracted: 1 for ImageNet's Caffe weights, "
        "about 58 when "
        "training from random weights.",
        group="data",
    )
    batch_size: int = _setting(1, "Images a step.", group="data")

    # --- augmentation: of training images only; by default the paper's flip and nothing else
    flip: str = _setting(
        "horizontal",
        "Mirror training images at random; 'both' suits images without an up (microscopes, "
        "satellites).",
        group="augmentation",
        choices=("none", "horizontal", "vertical", "both"),
    )
    train_shorter_sides: tuple[int, ...] = _setting(
        (),
        "Multi-scale training: one of these, drawn for each image, takes shorter_side's place, "
        "and longer_side changes in proportion. Typical: four or five between 0.7 and 1.2 times "
        "shorter_side. Empty: always shorter_side.",
        group="augmentation",
    )
    scale_jitter: tuple[float, ...] = _setting(
        (1.0, 1.0),
        "Images are enlarged by a factor drawn between these two; of what is then larger than "
        "without it, a part of the usual size is cropped, at random. Typical: 0.8,1.25; for long "
        "schedules 0.5,2. 1,1: never.",
        group="augmentation",
    )
    crop_probability: float = _setting(
        0.0,
        "Share of the images that are cropped at random before they are resized, so that their "
        "objects grow. Typical: 0.5. 0: none.",
        group="augmentation",
    )
    crop_sides: tuple[float, ...] = _setting(
        (0.5, 1.0),
        "A random crop's least and largest share of the image's height and of its width, each "
        "drawn for itself; landscapes stay landscapes.",
        group="augmentation",
    )
    crop_min_visible: float = _setting(
        0.3,
        "An object of which a crop, random or by scale_jitter, leaves at least this share of the "
        "area stays an object, cut to what is left; of less, it is ignored: neither object nor "
        "background. No crop takes all objects of an image.",
        group="augmentation",
    )
    brightness: float = _setting(
        0.0,
        "Pixels are multiplied by a factor drawn between 1 minus and 1 plus this. Typical: 0.2.",
        group="augmentation",
    )
    contrast: float = _setting(
        0.0,
        "Likewise, of their distance to the image's mean colour. Typical: 0.2.",
        group="augmentation",
    )
    saturation: float = _setting(
        0.0, "Likewise, of their distance to grey. Typical: 0.2.", group="augmentation"
    )
    hue: float = _setting(
        0.0,
        "Colours are turned by up to this share of the colour circle, either way. Typical: 0.02; "
        "0.5 makes any colour of any.",
        group="augmentation",
    )
    grey_probability: float = _setting(
        0.0, "Share of the images that lose their colours. Typical: 0.1.", group="augmentation"
    )

    # --- model
    backbone: str = _setting(
        "vgg16",
        "Shared convolutions: the paper's two, or a ResNet up to its fourth stage, of which the "
        "fifth is the box head (made for pretrained weights: its normalisations are not trained).",
        group="model",
        choices=("vgg16", "zf", "resnet50", "resnet101"),
    )
    backbone_weights: str = _setting(
        "imagenet",
        "Start of the backbone: 'imagenet' (downloaded once by Keras; with VGG16 the box head's "
        "fc1 and fc2 too, with a ResNet the box head's convolutions), "
        "'none' (He initialisation), or a weights file in keras.applications' form.",
        group="model",
    )
    start_checkpoint: str = _setting(
        "",
        "Checkpoint (.keras) of another run to start from, in place of backbone_weights, which is "
        "not looked at then: backbone, RPN and box head, and the outputs of the classes that both "
        "have, matched by name (aeroplane = airplane). Backbone, number of anchors, head and "
        "pixel_std must be the checkpoint's.",
        group="model",
    )
    frozen_blocks: int = _setting(
        -1,
        "Number of first convolution blocks that are not trained; -1: as the code does, 2 with "
        "pretrained weights or a start_checkpoint, and 0 without.",
        group="model",
    )
    scales: tuple[float, ...] = _setting(
        (128.0, 256.0, 512.0),
        "Anchor scales: square roots of the areas, pixels of the resized image.",
        group="model",
    )
    ratios: tuple[float, ...] = _setting(
        (0.5, 1.0, 2.0), "Anchor ratios, height / width.", group="model"
    )
    roi_pooling: str = _setting(
        "max",
        "'max': the paper's quantised max pooling; 'align': RoIAlign, better on small objects.",
        group="model",
        choices=("max", "align"),
    )
    pool_size: int = _setting(7, "Cells a side of a pooled region.", group="model")
    sampling_ratio: int = _setting(2, "RoIAlign's samples a cell and axis.", group="model")
    head_units: tuple[int, ...] = _setting(
        (4096, 4096),
        "Widths of the box head's dense layers (fc6, fc7 of the paper); ResNets have none.",
        group="model",
    )
    head_dropout: float = _setting(
        0.5, "Dropout after each dense layer of the head, in training (code: 0.5).", group="model"
    )
    box_delta_std: tuple[float, ...] = _setting(
        (0.1, 0.1, 0.2, 0.2),
        "Divisors (ty, tx, th, tw) of the head's regression targets (code).",
        group="model",
    )

    # --- region proposal network
    rpn_fg_iou_threshold: float = _setting(
        0.7, "An anchor with at least this IoU is an object (paper 3.1.2).", group="rpn"
    )
    rpn_bg_iou_threshold: float = _setting(
        0.3, "An anchor below this IoU with every object is background.", group="rpn"
    )
    rpn_num_samples: int = _setting(
        256, "Anchors an image that enter the RPN's loss (paper 3.1.3).", group="rpn"
    )
    rpn_fg_fraction: float = _setting(0.5, "Largest share of objects among them.", group="rpn")
    rpn_border_anchors: bool = _setting(
        False,
        "Let anchors that cross the image's border take part in the RPN's loss (paper: no).",
        group="rpn",
    )
    rpn_nms_iou_threshold: float = _setting(
        0.7, "IoU above which a worse proposal is suppressed.", group="rpn"
    )
    train_pre_nms_top_k: int = _setting(
        12000, "Best boxes before suppression, in training (code).", group="rpn"
    )
    train_post_nms_top_k: int = _setting(
        2000, "Proposals an image, in training (paper).", group="rpn"
    )
    test_pre_nms_top_k: int = _setting(
        6000, "Best boxes before suppression, in test (code).", group="rpn"
    )
    test_post_nms_top_k: int = _setting(300, "Proposals an image, in test (paper).", group="rpn")
    min_size: float = _setting(
        16.0,
        "Proposals with a side below this, in pixels of the original image, are dropped (code).",
        group="rpn",
    )

    train_proposals: str = _setting(
        "rpn",
        "Where the second stage's regions come from in training: 'rpn'; 'dense', all anchors; or a "
        "proposals file (.npz or .json, see keras-frcnn propose) with an entry for every image "
        "that is used, of which the best train_post_nms_top_k are taken. But for 'rpn', the second "
        "stage learns alone.",
        group="rpn",
    )
    test_proposals: str = _setting(
        "rpn",
        "The same in evaluation, the best test_post_nms_top_k of them; 'detect' and exported "
        "models have the RPN's instead of a file's.",
        group="rpn",
    )
    test_ranked_proposals: bool = _setting(
        True,
        "In test, take the RPN's best proposals. False: any, unsuppressed (paper, table 2: 'no "
        "cls').",
        group="rpn",
    )
    test_regressed_proposals: bool = _setting(
        True,
        "In test, let the RPN move its anchors. False: as they are (paper, table 2: 'no reg').",
        group="rpn",
    )

    # --- sampled regions
    roi_fg_iou_threshold: float = _setting(
        0.5, "A proposal with at least this IoU is an object.", group="roi"
    )
    roi_bg_iou_threshold: float = _setting(
        0.5, "A proposal below this IoU is background ...", group="roi"
    )
    roi_bg_iou_threshold_low: float = _setting(
        0.0, "... if at least this (paper: 0.1, code's experiments: 0).", group="roi"
    )
    roi_num_samples: int = _setting(
        128, "Regions an image that enter the head's loss (code).", group="roi"
    )
    roi_fg_fraction: float = _setting(
        0.25, "Largest share of objects among them (code).", group="roi"
    )
    append_gt_boxes: bool = _setting(
        True, "Add the true boxes to the proposals that are sampled from (code).", group="roi"
    )

    # --- losses
    rpn_smooth_l1_beta: float = _setting(
        1 / 9, "Where the RPN's smooth L1 turns linear (code: sigma 3).", group="loss"
    )
    roi_smooth_l1_beta: float = _setting(
        1.0, "Where the head's smooth L1 turns linear (code: sigma 1).", group="loss"
    )
    rpn_box_normalizer: str = _setting(
        "samples",
        "What the RPN's box loss is divided by: rpn_num_samples (code) or the number of anchor "
        "positions (paper, "
        "which then weighs by lambda = 10).",
        group="loss",
        choices=("samples", "positions"),
    )
    rpn_box_loss_weight: float = _setting(
        1.0, "Lambda, the weight of the RPN's box loss (paper: 10).", group="loss"
    )
    weight_decay: float = _setting(
        5e-4,
        "L2 as Caffe means it: weight_decay * w is added to a kernel's gradient (paper).",
        group="loss",
    )
    decay_biases: bool = _setting(
        False, "Apply weight_decay to biases too (code: yes).", group="loss"
    )

    # --- training
    scheme: str = _setting(
        "joint",
        "How both stages come to share their convolutions. joint: all losses in one step, the "
        "proposals' coordinates taken as given (approximate joint training). non_approximate: "
        "likewise, but with the gradient through the coordinates; needs roi_pooling=align and a "
        "rpn_box_loss_weight of 10 to 50. alternating: the paper's four steps. unshared: its first "
        "two; the RPN and the detector keep their own convolutions.",
        group="training",
        choices=("joint", "non_approximate", "alternating", "unshared"),
    )
    steps: int = _setting(
        70000,
        "Training steps (code: 70000 of two images each); of alternating training all four "
        "steps together, unless alternating_steps is given.",
        group="training",
    )
    alternating_steps: tuple[int, ...] = _setting(
        (),
        "Training steps of each of the four steps (code: 80000,40000,80000,40000; unshared stops "
        "after two). Empty: 'steps' in the same proportions.",
        group="training",
    )
    alternating_lr_boundaries: tuple[int, ...] = _setting(
        (),
        "Where the rate drops within each of the four steps, counted from its start (code: "
        "60000,30000,60000,30000). Empty: at lr_boundaries, shrunk from 'steps' to each step's "
        "length.",
        group="training",
    )
    alternating_batch_sizes: tuple[int, ...] = _setting(
        (),
        "Images a step in each of the four steps (code: 1,2,1,2). Empty: batch_size.",
        group="training",
    )
    optimizer: str = _setting(
        "sgd",
        "SGD with momentum (paper), or Adam, which gets going sooner from random weights "
        "(learning_rate about 1e-4, weight_decay 0).",
        group="training",
        choices=("sgd", "adam"),
    )
    learning_rate: float = _setting(1e-3, "Learning rate after warm-up (paper).", group="training")
    lr_schedule: str = _setting(
        "piecewise",
        "How it falls: by lr_decay_factor at lr_boundaries, or along a half cosine to 0.",
        group="training",
        choices=("piecewise", "cosine"),
    )
    lr_boundaries: tuple[int, ...] = _setting(
        (50000,), "Steps at which the rate drops (code).", group="training"
    )
    lr_decay_factor: float = _setting(0.1, "Factor of each drop.", group="training")
    warmup_steps: int = _setting(
        500, "Steps over which the rate rises linearly from a tenth.", group="training"
    )
    momentum: float = _setting(0.9, "Momentum of SGD, beta_1 of Adam (paper).", group="training")
    bias_lr_factor: float = _setting(
        2.0,
        "Biases learn this much faster than kernels (code); means little to Adam.",
        group="training",
    )
    gradient_clip_norm: float = _setting(
        10.0,
        "Gradients with a larger global norm are scaled down to it; 0 switches it off (paper).",
        group="training",
    )
    accumulate_steps: int = _setting(
        1,
        "Steps whose gradients are averaged into one update (code: iter_size 2).",
        group="training",
    )
    jit_compile: bool = _setting(
        False,
        "Compile the training step and the run's evaluations with XLA, once for each size of "
        "image; for GPUs, on a processor it is several times slower.",
        group="training",
    )

    # --- watching
    eval_every: int = _setting(
        5000,
        "Evaluate and checkpoint every so many steps, and at the end. 0: only at the end.",
        group="watching",
    )
    log_every: int = _setting(
        20, "Write TensorBoard scalars every so many steps.", group="watching"
    )
    num_images: int = _setting(8, "Evaluation images drawn into TensorBoard.", group="watching")
    profile_steps: tuple[int, ...] = _setting(
        (),
        "Profile from the first to the last of these two steps, for TensorBoard.",
        group="watching",
    )

    # --- detections
    score_threshold: float = _setting(
        0.05, "Detections scored lower are dropped (code).", group="detections"
    )
    nms_iou_threshold: float = _setting(
        0.3,
        "IoU above which a worse detection of the class is suppressed (code).",
        group="detections",
    )
    max_detections: int = _setting(
        100, "Detections an image, all classes together (code).", group="detections"
    )
    test_shorter_sides: tuple[int, ...] = _setting(
        (),
        "Multi-scale test: evaluation detects at each of these in shorter_side's place, "
        "longer_side in proportion, and suppresses doubles among all that was found; 'detect' and "
        "exported models do not. Typical: 480,576,688,864,1200. Empty: at shorter_side alone.",
        group="detections",
    )

    def __post_init__(self):
        # So that one data_dir can be written plainly, as it was before there could be several.
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if element_type(field.type) is str and isinstance(value, str):
                object.__setattr__(self, field.name, (value,) if value else ())

    def validate(self) -> "Config":
        """Checks types, ranges and contradictions.

        Returns:
            The config itself, so that ``Config(...).validate()`` reads well.

        Raises:
            ValueError: naming every setting that is wrong, what was expected and what was received.
        """
        problems = [*self._type_problems()]
        if not problems:
            problems += self._range_problems() + self._contradictions()
        if problems:
            raise ValueError("Invalid settings:\n" + "\n".join(f"  - {p}" for p in problems))
        return self

    def _type_problems(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _matches(value, field.type):
                yield f"{field.name} must be {type_name(field.type)}. Received: {value!r}"
                continue
            values = value if isinstance(value, tuple) else (value,)
            if field.metadata["choices"] and not set(values) <= set(field.metadata["choices"]):
                choices = ", ".join(field.metadata["choices"])
                yield f"{field.name} must be one of {choices}. Received: {value!r}"

    def _range_problems(self) -> list[str]:
        positive = (
            "shorter_side longer_side pixel_std batch_size pool_size sampling_ratio "
            "rpn_num_samples train_pre_nms_top_k "
            "train_post_nms_top_k test_pre_nms_top_k test_post_nms_top_k roi_num_samples "
            "rpn_smooth_l1_beta "
            "roi_smooth_l1_beta steps learning_rate lr_decay_factor bias_lr_factor "
            "accumulate_steps log_every max_detections"
        )
        not_negative = (
            "seed min_size rpn_box_loss_weight weight_decay warmup_steps gradient_clip_norm "
            "eval_every num_images"
        )
        fractions = (
            "rpn_fg_iou_threshold rpn_bg_iou_threshold rpn_fg_fraction rpn_nms_iou_threshold "
            "roi_fg_iou_threshold "
            "roi_bg_iou_threshold roi_bg_iou_threshold_low roi_fg_fraction score_threshold "
            "nms_iou_threshold crop_probability crop_min_visible brightness contrast saturation "
            "grey_probability"
        )
        below_one = "momentum head_dropout"
        rules = [
            (positive, lambda v: v > 0, "positive"),
            (not_negative, lambda v: v >= 0, "at least 0"),
            (fractions, lambda v: 0 <= v <= 1, "between 0 and 1"),
            (below_one, lambda v: 0 <= v < 1, "at least 0 and below 1"),
        ]
        problems = [
            f"{name} must be {words}. Received: {getattr(self, name)!r}"
            for names, holds, words in rules
            for name in names.split()
            if not holds(getattr(self, name))
        ]
        for name in ("train_split", "eval_split"):
            parts = _parts(getattr(self, name))
            if not parts or not all(parts):
                problems.append(f"{name} must name image sets. Received: {getattr(self, name)!r}")
        for name in ("train_proposals", "test_proposals"):
            if not getattr(self, name):
                problems.append(f"{name} must be 'rpn', 'dense' or a proposals file. Received: ''")
        if not self.dataset:
            problems.append(f"dataset must name at least one. Received: {self.dataset!r}")
        for name in ("scales", "ratios", "head_units", "box_delta_std"):
            values = getattr(self, name)
            if not values or not all(v > 0 and math.isfinite(v) for v in values):
                problems.append(f"{name} must be a list of positive numbers. Received: {values!r}")
        for name in ("train_shorter_sides", "test_shorter_sides"):
            sides = getattr(self, name)
            if not all(side > 0 for side in sides):
                problems.append(f"{name} must be positive. Received: {sides!r}")
        for name, low, high in (("scale_jitter", 0.1, 10), ("crop_sides", 0.1, 1)):
            values = getattr(self, name)
            if len(values) != 2 or not low <= values[0] <= values[1] <= high:
                problems.append(
                    f"{name} must be two numbers between {low} and {high}, the smaller one first. "
                    f"Received: {values!r}"
                )
        if not 0 <= self.hue <= 0.5:
            problems.append(f"hue must be between 0 and 0.5. Received: {self.hue}")
        if len(self.box_delta_std) != 4:
            problems.append(
                f"box_delta_std must have 4 numbers (ty, tx, th, tw). Received: "
                f"{self.box_delta_std!r}"
            )
        if self.frozen_blocks not in range(-1, 6):
            problems.append(
                f"frozen_blocks must be between -1 and 5. Received: {self.frozen_blocks}"
            )
        if len(self.profile_steps) not in (0, 2):
            problems.append(
                f"profile_steps must be two steps, first and last. Received: {self.profile_steps!r}"
            )
        for name in ("alternating_steps", "alternating_lr_boundaries", "alternating_batch_sizes"):
            values = getattr(self, name)
            if len(values) not in (0, 4) or not all(value > 0 for value in values):
                problems.append(
                    f"{name} must be four positive numbers, one for each step of alternating "
                    f"training, or empty. Received: {values!r}"
                )
        return problems

    def _contradictions(self) -> list[str]:
        problems = []
        for name in ("train_split", "eval_split"):
            parts = _parts(getattr(self, name))
            files = [part for part in parts if part.partition(":")[0].endswith(".json")]
            if files and "coco" not in self.dataset:
                problems.append(f"{name}={files[0]} is a COCO file: that needs dataset=coco")
        if len(self.data_dir) not in (0, 1, len(self.dataset)):
            problems.append(
                f"data_dir must be one folder for all or one for each of {len(self.dataset)} "
                f"datasets ({', '.join(self.dataset)}). Received: {self.data_dir!r}"
            )
        if self.longer_side < self.shorter_side:
            problems.append(
                f"longer_side ({self.longer_side}) is below shorter_side ({self.shorter_side})"
            )
        if self.rpn_bg_iou_threshold > self.rpn_fg_iou_threshold:
            problems.append(
                "rpn_bg_iou_threshold is above rpn_fg_iou_threshold: an anchor would be both"
            )
        if self.roi_bg_iou_threshold > self.roi_fg_iou_threshold:
            problems.append(
                "roi_bg_iou_threshold is above roi_fg_iou_threshold: a region would be both"
            )
        if self.roi_bg_iou_threshold_low > self.roi_bg_iou_threshold:
            problems.append(
                "roi_bg_iou_threshold_low is above roi_bg_iou_threshold: no background would be "
                "left"
            )
        if self._starts_at_random and self.frozen_blocks > 0:
            problems.append(
                f"frozen_blocks={self.frozen_blocks} with backbone_weights=none would freeze "
                f"random weights: "
                "use frozen_blocks=-1 or 0"
            )
        if self.backbone == "zf" and self.backbone_weights != "none" and not self.start_checkpoint:
            problems.append(
                f"backbone_weights={self.backbone_weights} is not for zf, which keras.applications "
                "lacks: use backbone_weights=none"
            )
        if (
            list(self.lr_boundaries) != sorted(set(self.lr_boundaries))
            or min(self.lr_boundaries, default=1) < 1
        ):
            problems.append(f"lr_boundaries must be rising steps. Received: {self.lr_boundaries!r}")
        if self.warmup_steps >= min(self.phase_steps):
            problems.append(
                f"warmup_steps ({self.warmup_steps}) leave nothing of {min(self.phase_steps)} steps"
            )
        if self.scheme == "non_approximate" and self.roi_pooling != "align":
            problems.append(
                "scheme=non_approximate needs roi_pooling=align: max pooling rounds the proposals' "
                "coordinates and has no gradient in them"
            )
        if self.train_proposals != "rpn" and self.test_proposals == "rpn":
            problems.append(
                f"test_proposals=rpn: with train_proposals={self.train_proposals} the RPN learns "
                "nothing; name a proposals file, or 'dense'"
            )
        if self.test_proposals != "rpn" and not (
            self.test_ranked_proposals and self.test_regressed_proposals
        ):
            problems.append(
                "test_ranked_proposals and test_regressed_proposals are about the RPN's proposals. "
                f"Received: test_proposals={self.test_proposals}"
            )
        if self.scheme != "joint" and self.train_proposals != "rpn":
            problems.append(
                f"scheme={self.scheme} trains on the RPN's own proposals: "
                f"train_proposals={self.train_proposals} needs scheme=joint"
            )
        if self.jit_compile and self.deterministic:
            problems.append(
                "jit_compile does not go with deterministic: Keras does without XLA where kernels "
                "must be deterministic"
            )
        if list(self.profile_steps) != sorted(set(self.profile_steps)):
            problems.append(
                f"profile_steps must be the first and a later last step. "
                f"Received: {self.profile_steps!r}"
            )
        return problems

    @property
    def phase_steps(self) -> tuple[int, ...]:
        """Steps of each phase of the run: four of alternating training, two of unshared, else
        one.
        """
        if self.scheme not in ("alternating", "unshared"):
            return (self.steps,)
        ends = [self.steps * sixths // 6 for sixths in (0, 2, 3, 5, 6)]
        shared_out = tuple(end - start for start, end in zip(ends, ends[1:], strict=False))
        return (self.alternating_steps or shared_out)[: 2 if self.scheme == "unshared" else 4]

    @property
    def phase_lr_boundaries(self) -> tuple[tuple[int, ...], ...]:
        """``lr_boundaries`` of each phase, counted from its start."""
        phases = self.phase_steps
        if len(phases) > 1 and self.alternating_lr_boundaries:
            return tuple((boundary,) for boundary in self.alternating_lr_boundaries[: len(phases)])
        return tuple(
            tuple(sorted({max(1, b * steps // self.steps) for b in self.lr_boundaries}))
            for steps in phases
        )

    @property
    def phase_batch_sizes(self) -> tuple[int, ...]:
        """``batch_size`` of each phase."""
        phases = len(self.phase_steps)
        given = self.alternating_batch_sizes if phases > 1 else ()
        return (given or (self.batch_size,) * phases)[:phases]

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return sum(self.phase_steps)

    def sizes(self, shorter_sides: tuple[int, ...]) -> list[tuple[int, int]]:
        """Returns ``(shorter_side, longer_side)`` for each of some shorter sides, all in the
        settings' proportion; the settings' own for none.
        """
        shorter, longer = self.shorter_side, self.longer_side
        return [
            (side, (2 * side * longer + shorter) // (2 * shorter))
            for side in shorter_sides or [shorter]
        ]

    @property
    def steps_per_interval(self) -> int:
        """Steps between two evaluations."""
        return min(self.eval_every, self.steps) or self.steps

    @property
    def needs_proposals_file(self) -> bool:
        """Whether the detector has no regions of its own to classify: it can be evaluated on a
        file's, but neither detect on new images nor be exported.
        """
        is_file = self.test_proposals not in ("rpn", "dense")
        return is_file and self.train_proposals != "rpn"

    @property
    def resolved_frozen_blocks(self) -> int:
        """``frozen_blocks`` with -1 resolved."""
        if self.frozen_blocks >= 0:
            return self.frozen_blocks
        return 0 if self._starts_at_random else 2

    @property
    def _starts_at_random(self) -> bool:
        return self.backbone_weights == "none" and not self.start_checkpoint

    def resolve_difficult(self, form: str) -> str:
        """Returns ``difficult`` with 'auto' resolved, for records of a form ("voc" or "coco")."""
        if self.difficult != "auto":
            return self.difficult
        return "drop" if form == "voc" else "ignore"

    @property
    def is_evaluated(self) -> bool:
        """Whether there are image sets to evaluate on."""
        return any(part != _NONE for part in _parts(self.eval_split))

    def sources(self, splits: tuple[str, ...]) -> "tuple[DataSource, ...]":
        """Pairs the datasets with their folders and with what is wanted of them.

        Args:
            splits: ``train_split``, ``eval_split`` or entries of their form.

        Returns:
            The datasets of which something is wanted, in their order.

        Raises:
            ValueError: if there is not one entry for each dataset, or nothing is wanted.
        """
        entries = [splits] if len(self.dataset) == 1 else [(entry,) for entry in splits]
        entries = [_parts(entry for entry in group if entry != _NONE) for group in entries]
        if len(entries) != len(self.dataset) or not any(entries):
            raise ValueError(
                f"expected image sets of each of the datasets {', '.join(self.dataset)}: one entry "
                f"each, {_JOINED} between the image sets of one, {_NONE} for none. "
                f"Received: {','.join(splits) or 'none'}"
            )
        folders = self.data_dir or (_NONE,)
        folders = folders if len(folders) > 1 else folders * len(entries)
        return tuple(
            DataSource(
                *(dataset, "" if folder == _NONE else folder, parts),
                *(self.on_bad_record, self.classes_file),
            )
            for dataset, folder, parts in zip(self.dataset, folders, entries, strict=True)
            if parts
        )

    def replace(self, **changes) -> "Config":
        """Returns a copy with some settings changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values that JSON can hold."""
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Config":
        """Inverse of ``to_dict``; a plain text does for a list of one.

        Raises:
            ValueError: naming settings that do not exist in this version.
        """
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"Unknown settings: {', '.join(unknown)}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _parts(entries: Iterable[str]) -> tuple[str, ...]:
    """Returns the image sets that entries of ``train_split`` or ``eval_split`` join."""
    return tuple(part for entry in entries for part in entry.split(_JOINED))


def element_type(annotation: Any) -> type | None:
    """Returns the element type of ``tuple[x, ...]``, or None for a scalar setting."""
    return get_args(annotation)[0] if get_origin(annotation) is tuple else None


def type_name(annotation: Any) -> str:
    """Returns the words for a setting's type in messages."""
    words = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}
    element = element_type(annotation)
    return words[annotation] if element is None else f"a list, each {words[element]}"


def _matches(value: Any, annotation: Any) -> bool:
    element = element_type(annotation)
    if element is not None:
        return isinstance(value, tuple) and all(_matches(v, element) for v in value)
    if annotation is float:
        return (
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        )
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation)

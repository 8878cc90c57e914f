"""The rows of the paper's tables: what is trained, how it is tested, and the published figures.

The figures are those of Ren, He, Girshick, Sun 2015 (arXiv 1506.01497), in percent. A row that
appears in several tables is listed once.
"""

import dataclasses

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person"),
    *("pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
SELECTIVE_SEARCH, EDGE_BOXES, RPN = METHODS = ("selective_search", "edge_boxes", "rpn")


@dataclasses.dataclass(frozen=True)
class Model:
    """A model to train, which has a flagfile of its own in configs/paper.

    Attributes:
        name: the flagfile's name, without ".cfg".
        proposal_method: the method whose proposals it is trained on; empty: the model's own RPN, or
            none.
        start_model: the model from whose checkpoint it starts; empty: none.
    """

    name: str
    proposal_method: str = ""
    start_model: str = ""


@dataclasses.dataclass(frozen=True)
class Proposals:
    """A source of proposals.

    Attributes:
        method: one of ``METHODS``.
        model: the model whose RPN proposes; empty for the other methods.
        variant: what is switched off in that RPN, as part of a file's name; empty: nothing.
        propose_flags: the flags of ``propose`` for it.
    """

    method: str
    model: str = ""
    variant: str = ""
    propose_flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Row:
    """A trained model, tested in one way.

    Attributes:
        name: the row's unique name.
        tables: the paper's tables that it appears in.
        title: a description for people.
        published: the paper's mean AP.
        proposals: the source of the test images' proposals; None: the model itself.
        num_proposals: how many of them are used in each image; 0: as many as the flagfile says.
        tested_model: the model, a key of ``MODELS``; empty: the one with the row's name.
    """

    name: str
    tables: tuple[int, ...]
    title: str
    published: float
    proposals: Proposals | None = None
    num_proposals: int = 0
    tested_model: str = ""

    @property
    def model(self) -> str:
        """The model that is tested."""
        return self.tested_model or self.name

    @property
    def per_class(self) -> tuple[float, ...]:
        """The published AP of each of ``CLASSES``; empty where the paper has none."""
        return tuple(map(float, _PER_CLASS.get(self.name, "").split()))

    @property
    def evaluate_flags(self) -> tuple[str, ...]:
        """The flags of ``evaluate`` for it."""
        return (f"--test_post_nms_top_k={self.num_proposals}",) if self.num_proposals else ()


@dataclasses.dataclass(frozen=True)
class Curve:
    """A curve of figure 4: the recall of the proposals of one source."""

    name: str
    title: str
    proposals: Proposals


_SS = Proposals(SELECTIVE_SEARCH)
_EB = Proposals(EDGE_BOXES)
# No limit before suppression, as when the released code makes proposals to train on. The first 300
# are then those that the RPN gives in test, and one file serves every number of proposals.
_BEST = ("--test_pre_nms_top_k=100000", "--test_post_nms_top_k=2000")
_OF_ZF = Proposals(RPN, "zf_unshared", "", _BEST)
_OF_VGG16 = Proposals(RPN, "vgg16_unshared_07", "", _BEST)
_NO_NMS = Proposals(
    RPN, "zf_unshared", "no_nms", ("--rpn_nms_iou_threshold=1", "--test_post_nms_top_k=6000")
)
_NO_CLS = Proposals(
    RPN, "zf_unshared", "no_cls", ("--test_ranked_proposals=false", "--test_post_nms_top_k=1000")
)
_NO_REG = Proposals(RPN, "zf_unshared", "no_reg", ("--test_regressed_proposals=false", *_BEST))

MODELS = {
    model.name: model
    for model in (
        Model("zf_ss", SELECTIVE_SEARCH),
        Model("zf_edge_boxes", EDGE_BOXES),
        Model("zf_shared"),
        Model("zf_unshared"),
        Model("zf_dense"),
        Model("zf_dense_5_scales"),
        Model("vgg16_ss_07", SELECTIVE_SEARCH),
        Model("vgg16_ss_0712", SELECTIVE_SEARCH),
        Model("vgg16_ss_12", SELECTIVE_SEARCH),
        Model("vgg16_ss_07pp12", SELECTIVE_SEARCH),
        Model("vgg16_unshared_07"),
        Model("vgg16_shared_07"),
        Model("vgg16_shared_0712"),
        Model("vgg16_shared_12"),
        Model("vgg16_shared_07pp12"),
        Model("vgg16_coco"),
        Model("vgg16_coco_0712", start_model="vgg16_coco"),
        Model("vgg16_coco_07pp12", start_model="vgg16_coco"),
        Model("vgg16_anchors_128"),
        Model("vgg16_anchors_256"),
        Model("vgg16_anchors_128_3_ratios"),
        Model("vgg16_anchors_256_3_ratios"),
        Model("vgg16_anchors_3_scales"),
        Model("vgg16_lambda_0.1"),
        Model("vgg16_lambda_1"),
        Model("vgg16_lambda_10"),
        Model("vgg16_lambda_100"),
    )
}


def _ablation(words: str, number: int, published: float, proposals: Proposals) -> Row:
    """Returns a row of table 2 that tests the Selective Search detector on other proposals."""
    title = f"Selective Search in training, {words} in test, {number}"
    name = f"zf_ss_on_{proposals.model.split('_')[0]}_{proposals.variant or 'rpn'}_{number}"
    return Row(name, (2,), title, published, proposals, number, "zf_ss")


_PER_CLASS = {
    "vgg16_ss_07": "74.5 78.3 69.2 53.2 36.6 77.3 78.2 82.0 40.7 72.7 "
    "67.9 79.6 79.2 73.0 69.0 30.1 65.4 70.2 75.8 65.8",
    "vgg16_ss_0712": "77.0 78.1 69.3 59.4 38.3 81.6 78.6 86.7 42.8 78.8 "
    "68.9 84.7 82.0 76.6 69.9 31.8 70.1 74.8 80.4 70.4",
    "vgg16_unshared_07": "74.1 77.2 67.7 53.9 51.0 75.1 79.2 78.9 50.7 78.0 "
    "61.1 79.1 81.9 72.2 75.9 37.2 71.4 62.5 77.4 66.4",
    "vgg16_shared_07": "70.0 80.6 70.1 57.3 49.9 78.2 80.4 82.0 52.2 75.3 "
    "67.2 80.3 79.8 75.0 76.3 39.1 68.3 67.3 81.1 67.6",
    "vgg16_shared_0712": "76.5 79.0 70.9 65.5 52.1 83.1 84.7 86.4 52.0 81.9 "
    "65.7 84.8 84.6 77.5 76.7 38.8 73.6 73.9 83.0 72.6",
    "vgg16_coco_0712": "84.3 82.0 77.7 68.9 65.7 88.1 88.4 88.9 63.6 86.3 "
    "70.8 85.9 87.6 80.1 82.3 53.6 80.4 75.8 86.6 78.9",
    "vgg16_ss_12": "80.3 74.7 66.9 46.9 37.7 73.9 68.6 87.7 41.7 71.1 "
    "51.1 86.0 77.8 79.8 69.8 32.1 65.5 63.8 76.4 61.7",
    "vgg16_ss_07pp12": "82.3 78.4 70.8 52.3 38.7 77.8 71.6 89.3 44.2 73.0 "
    "55.0 87.5 80.5 80.8 72.0 35.1 68.3 65.7 80.4 64.2",
    "vgg16_shared_12": "82.3 76.4 71.0 48.4 45.2 72.1 72.3 87.3 42.2 73.7 "
    "50.0 86.8 78.7 78.4 77.4 34.5 70.1 57.1 77.1 58.9",
    "vgg16_shared_07pp12": "84.9 79.8 74.3 53.9 49.8 77.5 75.9 88.5 45.6 77.1 "
    "55.3 86.9 81.7 80.9 79.6 40.1 72.6 60.9 81.2 61.5",
    "vgg16_coco_07pp12": "87.4 83.6 76.8 62.9 59.6 81.9 82.0 91.3 54.9 82.6 "
    "59.0 89.0 85.5 84.7 84.1 52.2 78.9 65.5 85.4 70.2",
}

ROWS = (
    # --- table 2: ZF, VOC 2007
    Row("zf_ss", (2,), "Selective Search, 2000", 58.7, _SS, 2000),
    Row("zf_edge_boxes", (2,), "EdgeBoxes, 2000", 58.6, _EB, 2000),
    Row("zf_shared", (2,), "RPN, shared, 300", 59.9),
    Row("zf_unshared", (2, 10), "RPN, unshared, 300", 58.7),
    _ablation("best RPN proposals", 100, 55.1, _OF_ZF),
    _ablation("best RPN proposals", 300, 56.8, _OF_ZF),
    _ablation("best RPN proposals", 1000, 56.3, _OF_ZF),
    _ablation("best RPN proposals without NMS", 6000, 55.2, _NO_NMS),
    _ablation("unranked RPN proposals (no cls)", 100, 44.6, _NO_CLS),
    _ablation("unranked RPN proposals (no cls)", 300, 51.4, _NO_CLS),
    _ablation("unranked RPN proposals (no cls)", 1000, 55.8, _NO_CLS),
    _ablation("RPN anchors (no reg)", 300, 52.1, _NO_REG),
    _ablation("RPN anchors (no reg)", 1000, 51.3, _NO_REG),
    _ablation("best proposals of VGG16's RPN", 300, 59.2, _OF_VGG16),
    # --- tables 3 and 6: VGG16, tested on VOC 2007
    Row("vgg16_ss_07", (3, 6), "Selective Search, 2000; 07 (68.1 in a rerun)", 66.9, _SS, 2000),
    Row("vgg16_ss_0712", (3, 6), "Selective Search, 2000; 07+12", 70.0, _SS, 2000),
    Row("vgg16_unshared_07", (3, 6), "RPN, unshared, 300; 07", 68.5),
    Row("vgg16_shared_07", (3, 6, 8), "RPN, shared, 300; 07; 3 scales, 3 ratios", 69.9),
    Row("vgg16_shared_0712", (3, 6), "RPN, shared, 300; 07+12", 73.2),
    Row("vgg16_coco_0712", (3, 6), "RPN, shared, 300; COCO+07+12", 78.8),
    # --- tables 4 and 7: VGG16, tested on VOC 2012
    Row("vgg16_ss_12", (4, 7), "Selective Search, 2000; 12", 65.7, _SS, 2000),
    Row("vgg16_ss_07pp12", (4, 7), "Selective Search, 2000; 07++12", 68.4, _SS, 2000),
    Row("vgg16_shared_12", (4, 7), "RPN, shared, 300; 12", 67.0),
    Row("vgg16_shared_07pp12", (4, 7), "RPN, shared, 300; 07++12", 70.4),
    Row("vgg16_coco_07pp12", (4, 7), "RPN, shared, 300; COCO+07++12", 75.9),
    # --- table 8: anchors
    Row("vgg16_anchors_128", (8,), "1 scale (128), 1 ratio", 65.8),
    Row("vgg16_anchors_256", (8,), "1 scale (256), 1 ratio", 66.7),
    Row("vgg16_anchors_128_3_ratios", (8,), "1 scale (128), 3 ratios", 68.8),
    Row("vgg16_anchors_256_3_ratios", (8,), "1 scale (256), 3 ratios", 67.9),
    Row("vgg16_anchors_3_scales", (8,), "3 scales, 1 ratio", 69.8),
    # --- table 9: lambda
    Row("vgg16_lambda_0.1", (9,), "lambda 0.1", 67.2),
    Row("vgg16_lambda_1", (9,), "lambda 1", 68.9),
    Row("vgg16_lambda_10", (9,), "lambda 10", 69.9),
    Row("vgg16_lambda_100", (9,), "lambda 100", 69.1),
    # --- table 10: one stage
    Row("zf_dense", (10,), "one stage: dense windows, 1 image scale", 53.8),
    Row("zf_dense_5_scales", (10,), "one stage: dense windows, 5 image scales", 53.9),
)

SPLITS = (
    *("VOC2007/trainval", "VOC2007/test", "VOC2012/trainval", "VOC2012/test"),
    *("train2017", "val2017"),
)
"""The image sets that the rows use."""

TABLE_TITLES = {
    2: "ZF, trained on VOC 2007 trainval, tested on VOC 2007 test",
    3: "VGG16, tested on VOC 2007 test",
    4: "VGG16, tested on VOC 2012 test",
    5: "milliseconds per image",
    6: "VGG16, tested on VOC 2007 test, AP of each class",
    7: "VGG16, tested on VOC 2012 test, AP of each class",
    8: "anchors: VGG16, trained on VOC 2007 trainval, tested on VOC 2007 test",
    9: "lambda: VGG16, trained on VOC 2007 trainval, tested on VOC 2007 test",
    10: "one stage or two: ZF, trained on VOC 2007 trainval, tested on VOC 2007 test",
}
PER_CLASS_TABLES = (6, 7)
TIMING_TABLE = 5

FIGURE = 4
FIGURE_TITLE = "recall of proposals against IoU, VOC 2007 test"
FIGURE_NUM_PROPOSALS = (300, 1000, 2000)
CURVES = (
    Curve("selective_search", "Selective Search", _SS),
    Curve("edge_boxes", "EdgeBoxes", _EB),
    Curve("rpn_zf", "RPN of ZF", _OF_ZF),
    Curve("rpn_vgg16", "RPN of VGG16", _OF_VGG16),
)


@dataclasses.dataclass(frozen=True)
class TimingRow:
    """A row of table 5: milliseconds per image on an NVIDIA K40, Selective Search on a CPU.

    Attributes:
        title: a description for people.
        benchmark: the name of the benchmark that times it.
        backbone: the ``--backbone``.
        convolutions: the time of the shared convolutions.
        proposal: the time of the RPN's own layers, or of Selective Search.
        regions: the time of suppression, pooling, dense layers and softmax.
        total: the sum of the three.
    """

    title: str
    benchmark: str
    backbone: str
    convolutions: int
    proposal: int
    regions: int
    total: int


TIMING_ROWS = (
    TimingRow("VGG16, Selective Search + Fast R-CNN", "fast_rcnn", "vgg16", 146, 1510, 174, 1830),
    TimingRow("VGG16, RPN + Fast R-CNN", "paper", "vgg16", 141, 10, 47, 198),
    TimingRow("ZF, RPN + Fast R-CNN", "paper", "zf", 31, 3, 25, 59),
)


def rows_of(table: int) -> list[Row]:
    """Returns the rows of a table, in the paper's order."""
    return [row for row in ROWS if table in row.tables]

"""The published figures, and the flagfiles of the rows."""

import statistics

import pytest

from keras_frcnn.config import Config
from keras_frcnn.paper import rows
from tests.paper.conftest import CONFIGS, ROWS_BY_NAME, read_config

# Read from the paper's tables a second time for this test, top to bottom.
PUBLISHED = {
    2: "58.7 58.6 59.9 58.7 55.1 56.8 56.3 55.2 44.6 51.4 55.8 52.1 51.3 59.2",
    3: "66.9 70.0 68.5 69.9 73.2 78.8",
    4: "65.7 68.4 67.0 70.4 75.9",
    6: "66.9 70.0 68.5 69.9 73.2 78.8",
    7: "65.7 68.4 67.0 70.4 75.9",
    8: "69.9 65.8 66.7 68.8 67.9 69.8",
    9: "67.2 68.9 69.9 69.1",
    10: "58.7 53.8 53.9",
}


@pytest.mark.parametrize("table", PUBLISHED)
def test_every_table_has_the_published_figures_in_order(table):
    expected = [float(value) for value in PUBLISHED[table].split()]
    assert [row.published for row in rows.rows_of(table)] == expected


@pytest.mark.parametrize("row", [row for row in rows.ROWS if row.per_class], ids=lambda r: r.name)
def test_the_classes_average_to_the_mean(row):
    assert len(row.per_class) == len(rows.CLASSES) == 20
    assert statistics.mean(row.per_class) == pytest.approx(row.published, abs=0.06)


@pytest.mark.parametrize(
    ("row", "name", "ap"),
    [
        ("vgg16_ss_07", "bottle", 36.6),
        ("vgg16_unshared_07", "pottedplant", 37.2),
        ("vgg16_shared_07", "tvmonitor", 67.6),
        ("vgg16_coco_0712", "aeroplane", 84.3),
        ("vgg16_shared_12", "sofa", 57.1),
        ("vgg16_coco_07pp12", "cat", 91.3),
    ],
)
def test_the_ap_of_a_class_is_at_its_index(row, name, ap):
    assert ROWS_BY_NAME[row].per_class[rows.CLASSES.index(name)] == ap


def test_only_tables_6_and_7_have_the_ap_of_each_class():
    for row in rows.ROWS:
        assert bool(row.per_class) == bool({6, 7} & set(row.tables))


def test_the_times_of_table_5_add_up():
    for times in rows.TIMING_ROWS:
        assert abs(times.convolutions + times.proposal + times.regions - times.total) <= 1
    assert [times.total for times in rows.TIMING_ROWS] == [1830, 198, 59]


def test_names_are_unique_and_everything_has_its_row():
    assert len(ROWS_BY_NAME) == len(rows.ROWS)
    used = {row.model for row in rows.ROWS}
    used |= {row.proposals.model for row in rows.ROWS if row.proposals and row.proposals.model}
    used |= {rows.MODELS[name].start_model for name in used} - {""}
    assert used == set(rows.MODELS)
    flagfiles = {path.stem for path in CONFIGS.glob("*.cfg")} - {"preset"}
    assert flagfiles == used
    assert {table for row in rows.ROWS for table in row.tables} | {5} == set(rows.TABLE_TITLES)


@pytest.mark.parametrize("name", rows.MODELS)
def test_a_flagfile_is_what_its_model_says(name):
    model, config = rows.MODELS[name], read_config(name)
    assert config.output_dir == f"runs/paper_{name}"
    assert config.backbone == name.split("_")[0]
    is_file = config.train_proposals.endswith(".npz")
    assert is_file == bool(model.proposal_method) == config.test_proposals.endswith(".npz")
    if model.proposal_method:
        splits = ("_".join(s).replace("/", "-") for s in (config.train_split, config.eval_split))
        files = [f"runs/paper_proposals/{model.proposal_method}-{split}.npz" for split in splits]
        assert [config.train_proposals, config.test_proposals] == files
    checkpoint = f"runs/paper_{model.start_model}/last.keras" if model.start_model else ""
    assert config.start_checkpoint == checkpoint
    if model.start_model:  # otherwise its weights would not fit
        start = read_config(model.start_model)
        for setting in ("backbone", "scales", "ratios", "head_units", "pool_size", "pixel_std"):
            assert getattr(config, setting) == getattr(start, setting)


def test_the_image_sets_are_those_of_the_flagfiles():
    configs = [read_config(name) for name in rows.MODELS]
    assert {s for c in configs for s in (*c.train_split, *c.eval_split)} == set(rows.SPLITS)


SHARED = {"scheme": "alternating", "phase_steps": (80000, 40000, 80000, 40000)}
FAST = {"scheme": "joint", "steps": 40000, "lr_boundaries": (30000,), "batch_size": 2}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zf_shared", SHARED),
        ("zf_unshared", {"scheme": "unshared", "phase_steps": (80000, 40000)}),
        ("zf_ss", {**FAST, "roi_num_samples": 64, "roi_bg_iou_threshold_low": 0.1}),
        ("zf_edge_boxes", FAST),
        ("zf_dense", {**FAST, "train_proposals": "dense", "test_proposals": "dense"}),
        ("zf_dense_5_scales", {**FAST, "test_shorter_sides": (480, 576, 688, 864, 1200)}),
        ("zf_dense_5_scales", {"train_shorter_sides": (480, 576, 688, 864, 1200)}),
        ("vgg16_shared_07", {**SHARED, "phase_batch_sizes": (1, 2, 1, 2)}),
        ("vgg16_shared_07", {"phase_lr_boundaries": ((60000,), (30000,), (60000,), (30000,))}),
        ("vgg16_shared_0712", {"phase_steps": (80000, 60000, 80000, 60000)}),
        ("vgg16_shared_0712", {"train_split": ("VOC2007/trainval", "VOC2012/trainval")}),
        ("vgg16_shared_12", {**SHARED, "train_split": ("VOC2012/trainval",)}),
        (
            "vgg16_coco_07pp12",
            {"train_split": ("VOC2007/trainval", "VOC2007/test", "VOC2012/trainval")},
        ),
        ("vgg16_coco_07pp12", {"eval_split": ("VOC2012/test",)}),
        ("vgg16_ss_0712", {**FAST, "steps": 60000}),
        ("vgg16_ss_07pp12", {**FAST, "steps": 100000, "lr_boundaries": (40000, 80000)}),
        ("vgg16_coco", {"dataset": ("coco",), "phase_batch_sizes": (8, 16, 8, 16)}),
        ("vgg16_anchors_256", {"scales": (256.0,), "ratios": (1.0,)}),
        ("vgg16_anchors_128_3_ratios", {"scales": (128.0,), "ratios": (0.5, 1.0, 2.0)}),
        ("vgg16_anchors_3_scales", {"scales": (128.0, 256.0, 512.0), "ratios": (1.0,)}),
        ("vgg16_lambda_0.1", {"rpn_box_loss_weight": 0.1, "rpn_box_normalizer": "positions"}),
        ("vgg16_lambda_100", {"rpn_box_loss_weight": 100.0, "rpn_box_normalizer": "positions"}),
    ],
)
def test_schedules_and_variants(name, expected):
    config = read_config(name)
    assert {key: getattr(config, key) for key in expected} == expected


def test_the_preset_differs_from_the_defaults_where_the_code_does():
    preset, defaults = read_config("preset").to_dict(), Config().to_dict()
    changed = {name: value for name, value in preset.items() if defaults[name] != value}
    assert changed == {
        "output_dir": "runs/paper_preset",
        "train_split": ["VOC2007/trainval"],
        "eval_split": ["VOC2007/test"],
        "eval_every": 10000,
        "batch_size": 2,
        "difficult": "drop",
        "include_empty": False,
        "precision": "float32",
        "decay_biases": True,
        "warmup_steps": 0,
        "gradient_clip_norm": 0.0,
    }

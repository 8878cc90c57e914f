"""The commands that make a row, what they need, and what keeps them from running."""

import json

import pytest

from keras_frcnn.cli.command import parse
from keras_frcnn.cli.evaluate import COMMAND as EVALUATE
from keras_frcnn.cli.propose import COMMAND as PROPOSE
from keras_frcnn.cli.train import COMMAND as TRAIN
from keras_frcnn.config import Config
from keras_frcnn.paper import rows
from keras_frcnn.tasks.task import unfinished
from tests.paper.conftest import CONFIGS, ROWS_BY_NAME

COMMANDS = {"train": TRAIN, "evaluate": EVALUATE, "propose": PROPOSE}


def chain(planner, name, seed=0):
    """Returns all tasks of a row in running order, by title."""
    return {task.title: task for task in unfinished([planner.evaluation(ROWS_BY_NAME[name], seed)])}


def finish(task, text="{}"):
    task.result.parent.mkdir(parents=True, exist_ok=True)
    task.result.write_text(text)


def test_a_row_of_its_own_model(make_planner, devkit, tmp_path):
    found = chain(make_planner(), "zf_shared", 3)
    assert list(found) == ["train zf_shared, seed 3", "evaluate zf_shared, seed 3"]
    train, evaluate = found.values()
    folder = tmp_path / "out" / "models" / "zf_shared" / "seed_3"
    assert train.command == "train"
    assert train.flags == (
        f"--flagfile={CONFIGS}/zf_shared.cfg",
        f"--data_dir={devkit}",
        "--train_split=VOC2007/trainval",
        "--eval_split=VOC2007/test",
        "--seed=3",
        f"--output_dir={folder}",
    )
    assert train.deferred_flags() == ()
    results = tmp_path / "out" / "evaluations" / "zf_shared" / "seed_3"
    assert evaluate.command == "evaluate"
    assert evaluate.flags == (
        f"--checkpoint={folder}/last.keras",  # the best one was chosen on the test set
        f"--data_dir={devkit}",
        "--eval_split=VOC2007/test",
        "--resamples=0",
        f"--output_dir={results}",
    )
    assert (train.result, evaluate.result) == (folder / "done.json", results / "done.json")


def test_fast_rcnn_on_the_proposals_of_an_rpn(make_planner, devkit, tmp_path):
    found = chain(make_planner(), "zf_ss_on_zf_no_reg_300")
    assert list(found) == [
        "proposals selective_search-VOC2007-trainval",
        "proposals selective_search-VOC2007-test",
        "train zf_ss, seed 0",
        "train zf_unshared, seed 0",
        "proposals rpn-zf_unshared-no_reg-VOC2007-test-seed_0",
        "evaluate zf_ss_on_zf_no_reg_300, seed 0",
    ]
    ss_train, ss_test, train, _, rpn, evaluate = found.values()
    folder = tmp_path / "out" / "proposals"
    assert ss_train.flags == (
        "--method=selective_search",
        f"--data_dir={devkit}",
        "--train_split=VOC2007/trainval",
        "--subset=train_split",
        f"--output_file={folder}/selective_search-VOC2007-trainval.npz",
    )
    assert {"--eval_split=VOC2007/test", "--subset=eval_split"} < set(ss_test.flags)
    assert f"--train_proposals={ss_train.result}" in train.flags
    assert f"--test_proposals={ss_test.result}" in train.flags
    assert rpn.flags == (
        "--method=rpn",
        f"--checkpoint={tmp_path}/out/models/zf_unshared/seed_0/last.keras",
        f"--data_dir={devkit}",
        "--eval_split=VOC2007/test",
        "--subset=eval_split",
        "--test_regressed_proposals=false",
        "--test_pre_nms_top_k=100000",
        "--test_post_nms_top_k=2000",
        f"--output_file={rpn.result}",
    )
    assert f"--test_proposals={rpn.result}" in evaluate.flags
    assert "--test_post_nms_top_k=300" in evaluate.flags


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("zf_ss_on_zf_rpn_100", {"--test_pre_nms_top_k=100000", "--test_post_nms_top_k=2000"}),
        ("zf_ss_on_zf_no_nms_6000", {"--rpn_nms_iou_threshold=1", "--test_post_nms_top_k=6000"}),
        (
            "zf_ss_on_zf_no_cls_1000",
            {"--test_ranked_proposals=false", "--test_post_nms_top_k=1000"},
        ),
    ],
)
def test_ablations_of_proposals(make_planner, name, flags):
    planner = make_planner()
    evaluate = planner.evaluation(ROWS_BY_NAME[name], 0)
    propose = evaluate.needs[1]
    others = {flag.split("=")[0] for flag in propose.flags} - {flag.split("=")[0] for flag in flags}
    assert flags < set(propose.flags)
    assert not any(flag.startswith(("--test_", "--rpn_")) for flag in others)
    assert f"--test_post_nms_top_k={name.split('_')[-1]}" in evaluate.flags


@pytest.mark.parametrize("row", rows.ROWS, ids=lambda row: row.name)
def test_every_command_line_is_understood(row, make_planner, monkeypatch, tmp_path):
    """All flags exist, agree with each other, and override the flagfiles."""
    for name in ("evaluate", "propose"):
        monkeypatch.setattr(f"keras_frcnn.cli.{name}.checkpoint_settings", lambda _: Config())
    planner = make_planner(budget_minutes=1.0, overrides=("--pixel_std=50",), coco_dir="coco")
    for task in unfinished([planner.evaluation(row, 5)]):
        config, options = parse(COMMANDS[task.command], list(task.flags))
        if task.command == "train":
            assert (config.seed, config.pixel_std) == (5, 50.0)
            assert str(tmp_path) in config.output_dir
            assert not config.train_proposals.startswith("runs/")
            assert not config.start_checkpoint.startswith("runs/")


def test_seeds_and_rows_share_what_they_can(make_planner):
    planner = make_planner()
    asked = [ROWS_BY_NAME[f"zf_ss_on_zf_rpn_{number}"] for number in (100, 300)]
    tasks = [planner.evaluation(row, seed) for row in asked for seed in (0, 1)]
    titles = [task.title for task in unfinished(tasks)]
    assert len(titles) == 2 + 2 * 3 + 4  # 2 files; per seed 2 models and a file; 4 tests
    assert len(set(titles)) == len(titles)


def test_fine_tuning_starts_from_the_same_seed(make_planner, devkit, tmp_path):
    planner = make_planner(coco_dir=str(tmp_path / "coco"))
    found = chain(planner, "vgg16_coco_0712", 7)
    coco, train, _ = found.values()
    assert f"--data_dir={tmp_path}/coco" in coco.flags
    assert "--train_split=train2017,val2017" in coco.flags
    assert f"--data_dir={devkit}" in train.flags
    start = tmp_path / "out" / "models" / "vgg16_coco" / "seed_7" / "last.keras"
    assert f"--start_checkpoint={start}" in train.flags


def test_what_is_done_is_not_asked_for_again(make_planner):
    planner = make_planner()
    found = chain(planner, "zf_ss_on_zf_rpn_300")
    finish(found["train zf_ss, seed 0"])
    left = list(chain(planner, "zf_ss_on_zf_rpn_300"))
    assert left == [
        "train zf_unshared, seed 0",
        "proposals rpn-zf_unshared-VOC2007-test-seed_0",
        "evaluate zf_ss_on_zf_rpn_300, seed 0",
    ]
    finish(found["evaluate zf_ss_on_zf_rpn_300, seed 0"])
    assert chain(planner, "zf_ss_on_zf_rpn_300") == {}


# --- a budget


def test_steps_are_timed_before_a_budget_shortens_them(make_planner):
    planner = make_planner(budget_minutes=2.0)
    dry_run, train, _ = chain(planner, "zf_dense").values()
    assert dry_run.title == "time the steps of zf_dense"
    assert set(dry_run.flags) - set(train.flags) == {
        "--dry_run",
        f"--dry_run_file={dry_run.result}",
    }
    with pytest.raises(
        ValueError, match="the schedule of zf_dense is not known until its steps are timed"
    ):
        train.deferred_flags()
    # 40000 steps of 0.3 s are 200 minutes; 2 are 400 steps, with the drop after 300.
    finish(dry_run, json.dumps({"images": 3, "phases": [{"step": 0.3, "proposals": 0}]}))
    flags = train.deferred_flags()
    assert flags[0] == "--steps=400" and "--lr_boundaries=300" in flags
    assert planner.schedule("zf_dense").total_steps == 400
    config, _ = parse(TRAIN, [*train.flags, *flags])
    assert (config.steps, config.lr_boundaries, config.eval_every) == (400, (300,), 0)


def test_steps_are_timed_once_for_all_seeds(make_planner):
    planner = make_planner(budget_minutes=2.0)
    tasks = [planner.training("zf_dense", seed) for seed in (0, 1)]
    assert [task.title for task in unfinished(tasks)] == [
        "time the steps of zf_dense",
        "train zf_dense, seed 0",
        "train zf_dense, seed 1",
    ]


# --- obstacles


def obstacle(planner, name):
    """Returns the first obstacle of a row."""
    return next((t.obstacle for t in chain(planner, name).values() if t.obstacle), "")


def test_missing_data_are_named(make_planner, devkit):
    planner = make_planner()
    assert obstacle(planner, "zf_shared") == ""
    both = f"needs VOC2012/trainval in {devkit}; needs VOC2012/test in {devkit}"
    assert obstacle(planner, "vgg16_shared_12") == both
    assert obstacle(planner, "vgg16_shared_0712") == f"needs VOC2012/trainval in {devkit}"
    message = obstacle(make_planner(data_dir=""), "zf_dense")
    assert message.startswith("needs --data_dir with VOC2007/trainval; ")
    message = obstacle(planner, "vgg16_coco_0712")
    assert message == "needs --coco_dir with train2017; needs --coco_dir with val2017"
    (devkit / "VOC2007" / "Annotations" / "a.xml").unlink()
    assert obstacle(make_planner(), "zf_shared") == "needs the annotations of VOC2007/trainval"


def test_a_test_set_without_annotations_is_detected_on_only(make_planner, devkit):
    (devkit / "VOC2007" / "Annotations" / "e.xml").unlink()
    found = chain(make_planner(), "vgg16_ss_07")
    assert obstacle(make_planner(), "vgg16_ss_07") == ""
    _, on_test, train, evaluate = found.values()
    assert "--eval_split=VOC2007/test" in on_test.flags
    assert "--eval_split=-" in train.flags and "--eval_split=VOC2007/test" not in train.flags
    assert {"--eval_split=VOC2007/test", "--detections_only"} < set(evaluate.flags)


def test_missing_coco_files_are_named(make_planner, tmp_path):
    folder = tmp_path / "coco" / "annotations"
    folder.mkdir(parents=True)
    (folder / "instances_train2017.json").write_text("{}")
    planner = make_planner(coco_dir=str(tmp_path / "coco"))
    task = planner.training("vgg16_coco", 0)
    assert task.obstacle == f"needs {folder}/instances_val2017.json"


def test_missing_methods_are_named_unless_their_file_is_there(make_planner):
    planner = make_planner(lambda method: f"needs {method}")
    assert obstacle(planner, "zf_edge_boxes") == "needs edge_boxes"
    assert obstacle(planner, "zf_unshared") == ""
    for task in chain(planner, "zf_edge_boxes").values():
        if task.command == "propose":
            finish(task)
    assert obstacle(planner, "zf_edge_boxes") == ""


def test_replaced_splits_and_settings_reach_every_command(make_planner, devkit):
    (devkit / "VOC2007" / "ImageSets" / "Main" / "few.txt").write_text("a")
    planner = make_planner(
        replaced_splits={"VOC2007/trainval": "VOC2007/few", "VOC2012/test": "x"},
        overrides=("--pixel_std=58", "--on_bad_record=skip"),
        data_overrides=("--on_bad_record=skip",),
    )
    proposals, _, train, evaluate = chain(planner, "zf_ss").values()
    assert "--train_split=VOC2007/few" in proposals.flags
    assert "--on_bad_record=skip" in proposals.flags
    assert proposals.result.name == "selective_search-VOC2007-few.npz"
    assert {"--train_split=VOC2007/few", "--eval_split=VOC2007/test"} < set(train.flags)
    assert train.flags[1:3] == ("--pixel_std=58", "--on_bad_record=skip")
    assert "--eval_split=VOC2007/test" in evaluate.flags
    assert (
        planner.describe_data(ROWS_BY_NAME["zf_ss"])
        == "random: VOC2007/few (1) -> VOC2007/test (2)"
    )


def test_data_and_start_in_words(make_planner):
    planner = make_planner()
    assert planner.describe_data(ROWS_BY_NAME["vgg16_ss_0712"]) == (
        "ImageNet: VOC2007/trainval (3) + VOC2012/trainval -> VOC2007/test (2)"
    )
    assert planner.describe_data(ROWS_BY_NAME["vgg16_coco_0712"]) == (
        "ImageNet: train2017 + val2017, then VOC2007/trainval (3) + VOC2012/trainval -> "
        "VOC2007/test (2)"
    )


def test_curves_of_the_figure(make_planner):
    planner = make_planner()
    files = [planner.curve(curve, 1).result.name for curve in rows.CURVES]
    assert files == [
        "selective_search-VOC2007-test.npz",
        "edge_boxes-VOC2007-test.npz",
        "rpn-zf_unshared-VOC2007-test-seed_1.npz",
        "rpn-vgg16_unshared_07-VOC2007-test-seed_1.npz",
    ]


def test_the_benchmarks_of_table_5_exist(make_planner):
    """The command lines are parsed as the repository's benchmarks parse them."""
    from benchmarks import __main__ as benchmarks

    planner, cases = make_planner(), []
    for name in ("fast_rcnn", "paper"):
        task = planner.benchmark(name)
        assert (task.module, task.command) == ("benchmarks", name)
        flags = [flag for flag in task.flags if not flag.startswith("--json")]
        cases += benchmarks.parse([task.command, *flags])[0]
    found = [(case.suite, case.backbone, case.size, case.batch) for case in cases]
    assert found == [(row.benchmark, row.backbone, (600, 1000), 1) for row in rows.TIMING_ROWS]

"""Starting from another run's checkpoint: every weight by its value, and what is refused."""

import os

import keras
import numpy as np
import pytest

from keras_frcnn.models.build import build_detector
from keras_frcnn.weights import checkpoint
from keras_frcnn.weights.start_checkpoint import load_start
from tests import fakes
from tests.weights import small_resnet

THEIRS = ("person", "airplane", "cat", "dining table", "tv")
OURS = ("cat", "robot", "aeroplane", "tvmonitor", "diningtable", "drone")
# Of each class of ours, background first, the row of theirs; None: it is new.
ROWS = (0, 3, None, 2, 5, 4, None)


@pytest.fixture(autouse=True, scope="module")
def small_backbone():
    with fakes.small_backbone():
        yield


@pytest.fixture(scope="module")
def donor():
    """A detector that has learned: its weights are far from a start's, and so is its step."""
    model = fakes.detector(THEIRS)
    fakes.randomize(model, seed=5)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables[2:]:
        variable.assign(np.ones(variable.shape))
    model.step.assign(7)
    return model


@pytest.fixture(scope="module")
def path(donor, tmp_path_factory):
    path = tmp_path_factory.mktemp("theirs") / "best.keras"
    checkpoint.save(donor, path)
    return str(path)


def values(model):
    return {weight.path: weight.numpy() for weight in model.weights}


def expected_outputs(weight, theirs, rows, width):
    """Class by class, number by number, what an output layer must hold then."""
    expected = weight.copy()
    for ours, row in enumerate(rows):
        for i in range(width):
            if row is not None:
                expected[..., ours * width + i] = theirs[..., row * width + i]
    return expected


def assert_started(model, before, donor, rows):
    """Checks every weight of a detector that started from a donor."""
    theirs = values(donor)
    seen = 0
    for weight in model.weights:
        if weight.path == model.step.path:
            assert int(weight) == 0
            continue
        of_donor = theirs[weight.path]
        if weight.path.startswith(("box_head/classes", "box_head/boxes")):
            width = 4 if "/boxes/" in weight.path else 1
            expected = expected_outputs(before[weight.path], of_donor, rows, width)
            assert np.any(expected != before[weight.path])
        else:
            expected = of_donor
            seen += 1
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)
    assert seen == len(model.weights) - 5


def test_all_weights_are_copied_and_the_outputs_by_class_name(donor, path):
    model = fakes.detector(OURS)
    before = values(model)
    assert load_start(model, path) == [
        "copied: backbone, rpn, fc1; outputs of background, cat, aeroplane (there: airplane), "
        "tvmonitor (there: tv), diningtable (there: dining table)",
        "new classes, which start from random weights: robot, drone",
        "classes of the checkpoint that are not used: person",
    ]
    assert_started(model, before, donor, ROWS)


def test_with_the_same_classes_in_another_order_it_detects_the_same(donor, path):
    model = fakes.detector(THEIRS[::-1])
    assert load_start(model, path) == [
        f"copied: backbone, rpn, fc1; outputs of background, {', '.join(THEIRS[::-1])}"
    ]
    inputs = fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37)])
    ours, theirs = model(inputs), donor(inputs)
    assert theirs["num_detections"].numpy().min() > 2
    assert len(set(theirs["labels"].numpy()[0])) > 1
    for name in ("boxes", "scores", "num_detections", "proposals"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-4, err_msg=name)
    labels = theirs["labels"].numpy()
    np.testing.assert_array_equal(ours["labels"], np.where(labels < 0, -1, 4 - labels))


def test_without_a_common_class_everything_but_the_outputs_is_copied(donor, path):
    model = fakes.detector(("robot",))
    before = values(model)
    assert load_start(model, path) == [
        "copied: backbone, rpn, fc1; outputs of background",
        "new classes, which start from random weights: robot",
        f"classes of the checkpoint that are not used: {', '.join(THEIRS)}",
    ]
    assert_started(model, before, donor, (0, None))


def test_two_classes_may_start_from_one(donor, path):
    model = fakes.detector(("tv", "TV monitor"))
    before = values(model)
    load_start(model, path)
    assert_started(model, before, donor, (0, 5, 5))


@pytest.mark.parametrize("frozen_blocks", [-1, 0, 1])
def test_what_is_frozen_here_or_was_there_makes_no_difference(donor, path, frozen_blocks):
    model = fakes.detector(OURS, frozen_blocks=frozen_blocks, start_checkpoint=path)
    before = values(model)
    load_start(model, path)
    assert_started(model, before, donor, ROWS)
    trained = [x.name for x in model.backbone.leaf_layers() if x.trainable_weights]
    assert (
        trained == {-1: [], 0: ["block1_conv1", "block2_conv1"], 1: ["block2_conv1"]}[frozen_blocks]
    )


@pytest.mark.parametrize(
    ("theirs", "ours"), [("mixed_bfloat16", "float32"), ("float32", "mixed_float16")]
)
def test_weights_keep_every_bit_whatever_the_precision(donor, tmp_path, theirs, ours):
    other = fakes.detector(THEIRS, precision=theirs)
    other.set_weights(donor.get_weights())
    checkpoint.save(other, tmp_path / "a.keras")
    model = fakes.detector(OURS, precision=ours)
    before = values(model)
    load_start(model, tmp_path / "a.keras")
    assert_started(model, before, donor, ROWS)


def test_other_anchors_of_the_same_number_are_accepted_and_reported(donor, path):
    model = fakes.detector(OURS, scales=(8.0, 16.0, 32.5), ratios=(1.0, 2.0, 3.0))
    before = values(model)
    assert load_start(model, path)[-2:] == [
        "--scales is 8,16,32.5, the checkpoint's is 16,32,64",
        "--ratios is 1,2,3, the checkpoint's is 0.5,1,2",
    ]
    assert_started(model, before, donor, ROWS)


def test_a_shared_start_is_that_of_both_networks_of_an_unshared_detector(donor, path):
    model = fakes.detector(OURS, scheme="unshared")
    assert load_start(model, path)[0].startswith("copied: backbone, rpn_backbone, rpn, fc1; ")
    for name in ("backbone", "rpn_backbone"):
        for weight, theirs in zip(
            getattr(model, name).weights, donor.backbone.weights, strict=True
        ):
            np.testing.assert_array_equal(weight, theirs)


@pytest.mark.parametrize("scheme", ["unshared", "joint"])
def test_of_an_unshared_start_each_network_takes_its_own(scheme, tmp_path):
    donor = fakes.detector(THEIRS, scheme="unshared")
    fakes.randomize(donor, seed=5)
    checkpoint.save(donor, tmp_path / "a.keras")
    model = fakes.detector(OURS, scheme=scheme)
    before = values(model)
    lines = load_start(model, tmp_path / "a.keras")
    assert_started(model, before, donor, ROWS)
    remark = (
        "the checkpoint's rpn_backbone is not used: here the RPN shares the detector's backbone"
    )
    assert (remark in lines) is (scheme == "joint")


def test_the_last_stage_of_a_resnet_is_copied_whole(tmp_path):
    with small_resnet.as_resnet50():
        settings = fakes.SMALL.replace(backbone="resnet50")
        donor, model = (build_detector(settings, names) for names in (THEIRS, OURS))
        for seed, one in enumerate((donor, model)):
            fakes.randomize(one, seed)
        checkpoint.save(donor, tmp_path / "a.keras")
        before = values(model)
        lines = load_start(model, tmp_path / "a.keras")
        start = "copied: backbone, rpn, small_resnet_stage5; outputs of background, cat"
        assert lines[0].startswith(start)
        assert_started(model, before, donor, ROWS)
        # No weight of a stage depends on these.
        other = build_detector(settings.replace(pool_size=5, head_units=(3, 2)), OURS)
        load_start(other, tmp_path / "a.keras")


def test_shared_boxes_are_copied_whatever_the_classes(tmp_path):
    donor = fakes.detector(("x", "y"), class_agnostic_boxes=True)
    donor.roi_head.box_head.boxes.bias.assign([1.0, 2.0, 3.0, 4.0])
    checkpoint.save(donor, tmp_path / "a.keras")
    model = fakes.detector(("z",), class_agnostic_boxes=True)
    load_start(model, tmp_path / "a.keras")
    ours, theirs = model.roi_head.box_head.boxes, donor.roi_head.box_head.boxes
    for weight, wanted in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, wanted)


# --- what is refused ----------------------------------------------------------------------------


def refusal(path, class_names=OURS, **changes):
    """Returns the error of a start, which leaves the model as it was."""
    model = fakes.detector(class_names, **changes)
    before = values(model)
    with pytest.raises(ValueError) as caught:
        load_start(model, path)
    for weight in model.weights:
        np.testing.assert_array_equal(weight, before[weight.path])
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"backbone": "zf"}, "--backbone is zf, the checkpoint's is vgg16"),
        ({"pixel_std": 1.0}, "--pixel_std is 1, the checkpoint's is 58"),
        (
            {"box_delta_std": (0.1, 0.1, 0.2, 0.1)},
            "--box_delta_std is 0.1,0.1,0.2,0.1, the checkpoint's is 0.1,0.1,0.2,0.2",
        ),
        ({"head_units": (32, 32)}, "--head_units is 32,32, the checkpoint's is 32"),
        (
            {"class_agnostic_boxes": True},
            "--class_agnostic_boxes is True, the checkpoint's is False",
        ),
        ({"pool_size": 2}, "--pool_size is 2, the checkpoint's is 3"),
        (
            {"scales": (16.0, 32.0)},
            "--scales and --ratios make 6 anchors per cell, the checkpoint's make 9: "
            "--scales=16,32,64 --ratios=0.5,1,2",
        ),
    ],
)
def test_a_setting_that_weights_depend_on_is_named_with_both_values(path, changes, line):
    assert refusal(path, **changes) == f"The checkpoint {path} does not fit this run:\n{line}"


def test_all_such_settings_are_named_at_once(path):
    message = refusal(path, head_units=(8,), pixel_std=1.0, ratios=(1.0,))
    assert [line.split(" is ")[0] for line in message.splitlines()[1:]] == [
        "--pixel_std",
        "--head_units",
        "--scales and --ratios make 3 anchors per cell, the checkpoint's make 9: "
        "--scales=16,32,64 --ratios=0.5,1,2",
    ]


def test_a_class_that_could_be_two_of_theirs_is_named(tmp_path):
    path = tmp_path / "a.keras"
    checkpoint.save(fakes.detector(("Hot-Dog", "hot dog")), path)
    message = refusal(path, ("HOTDOG",))
    assert message.startswith(f"The checkpoint {path}: the class 'HOTDOG' could be any of ")


def test_what_is_no_checkpoint_is_named(path, tmp_path):
    missing = tmp_path / "missing.keras"
    assert refusal(missing) == f"There is no checkpoint {missing}"
    (tmp_path / "a.keras").write_text("no zip at all")
    assert "a.keras is not a checkpoint of keras_frcnn" in refusal(tmp_path / "a.keras")
    damaged = tmp_path / "b.keras"
    with open(path, "rb") as file:
        damaged.write_bytes(file.read())
    os.truncate(damaged, damaged.stat().st_size // 2)
    assert "b.keras is not a checkpoint of keras_frcnn" in refusal(damaged)


def test_weights_that_are_not_finite_are_refused_and_nothing_is_changed(tmp_path):
    donor, model = fakes.detector(THEIRS), fakes.detector(OURS)
    bias = donor.roi_head.box_head.boxes.bias
    bias.assign(np.full(bias.shape, np.inf))
    checkpoint.save(donor, tmp_path / "theirs.keras")
    before = values(model)
    with pytest.raises(ValueError, match=r"theirs\.keras has weights .* box_head/boxes/bias"):
        load_start(model, tmp_path / "theirs.keras")
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name])

"""A small checkpoint from a stranger cannot ask for a large detector."""

import json
import resource
import zipfile

import keras
import pytest

from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.models.roi_head import RoIHead
from keras_frcnn.models.rpn import RegionProposalNetwork
from keras_frcnn.weights import checkpoint
from keras_frcnn.weights.file_limits import limited_by
from tests import fakes

MEGABYTES = 300  # that a refusal may take


@pytest.fixture(autouse=True, scope="module")
def small_backbone():
    with fakes.small_backbone():
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The checkpoint of a detector that was made from settings."""
    path = tmp_path_factory.mktemp("settings") / "a.keras"
    checkpoint.save(fakes.detector(), path)
    return path


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """The checkpoint of a detector that was composed from parts."""
    model = FasterRCNN(
        fakes.small_vgg16(),
        RegionProposalNetwork(scales=(16, 32, 64)),
        RoIHead(len(fakes.CLASS_NAMES), pool_size=3, units=(32,)),
        fakes.CLASS_NAMES,
    )
    path = tmp_path_factory.mktemp("composed") / "a.keras"
    checkpoint.save(model, path)
    return path


def rewritten(source, path, change):
    """Copies a checkpoint with a changed ``get_config``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                values = json.loads(content)
                change(values["config"])
                content = json.dumps(values)
            new.writestr(name, content)
    return path


def refusal(path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError) as caught:
        checkpoint.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024
    return str(caught.value)


def words(path, shape, variable):
    return (
        f"the settings of {path} describe a detector with more weights than the file can hold: it "
        f"has {path.stat().st_size} bytes. Received: the shape {shape} of {variable}"
    )


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"head_units": [1_000_000, 1_000_000]}, "144 x 1000000"),
        ({"head_units": [200_000, 20_000]}, "144 x 200000"),
        ({"head_units": [5_000, 200_000]}, "5000 x 200000"),
        ({"pool_size": 1000}, "16000000 x 32"),
        ({"scales": [1.0] * 200_000}, "1 x 1 x 16 x 1200000"),
    ],
)
def test_settings_of_a_larger_detector_are_refused(saved, tmp_path, settings, shape):
    path = rewritten(saved, tmp_path / "a.keras", lambda v: v["config"].update(settings))
    assert words(path, shape, "kernel") in refusal(path)


def test_half_a_million_classes_are_refused(saved, tmp_path):
    def change(values):
        values["class_names"] = [str(number) for number in range(500_000)]

    path = rewritten(saved, tmp_path / "a.keras", change)
    assert words(path, "32 x 500001", "kernel") in refusal(path)


def test_a_larger_detector_that_was_composed_is_refused(composed, tmp_path):
    def change(values):
        values["parts"]["roi_head"]["config"]["units"] = [200_000, 20_000]

    path = rewritten(composed, tmp_path / "a.keras", change)
    message = refusal(path)
    assert message.startswith(f"{path} cannot be loaded: ")
    assert words(path, "144 x 200000", "kernel") in message


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_sound_checkpoint_is_loaded_in_any_precision(saved, tmp_path, precision):
    model = checkpoint.load(saved, fakes.SMALL.replace(precision=precision))
    checkpoint.save(model, tmp_path / "a.keras")
    assert checkpoint.load(tmp_path / "a.keras").class_names == fakes.CLASS_NAMES


def test_the_size_of_a_variable_is_known_before_it_is_made(tmp_path):
    """Keras hands over a function of the variable, whose shape is read from its closure."""
    (tmp_path / "a").write_bytes(bytes(10))
    made = []

    def initializer(shape, dtype):
        made.append(shape)
        return keras.ops.zeros(shape, dtype)

    with limited_by(tmp_path / "a"):
        keras.Variable(initializer, shape=(2**10, 2**10), dtype="float32")
        with pytest.raises(ValueError, match="the shape 7 x 3 of mine"):
            keras.Variable(initializer, shape=(7, 3), dtype="float32", name="mine")
    keras.Variable(initializer, shape=(7, 3), dtype="float32")  # not limited any more
    assert made == [(2**10, 2**10), (7, 3)]

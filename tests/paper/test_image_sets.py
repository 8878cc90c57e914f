"""Image sets: their numbers of images, and what is missing of them."""

import pytest

from keras_frcnn.config import Config
from keras_frcnn.paper.image_sets import ImageSets
from keras_frcnn.paper.settings import Settings

CONFIG = Config(train_split=("VOC2007/trainval", "VOC2012/trainval"), eval_split=("VOC2007/test",))


@pytest.fixture
def make_image_sets(devkit, tmp_path):
    """Returns a function that makes the image sets of a devkit, with some of them replaced."""

    def make(**replaced):
        splits = {f"{year}/trainval": own for year, own in replaced.items()}
        return ImageSets(
            Settings(
                output_dir=tmp_path,
                configs_dir=tmp_path,
                data_dir=str(devkit),
                replaced_splits=splits,
            )
        )

    return make


def test_an_image_set_that_is_missing_has_no_number(make_image_sets, devkit):
    image_sets = make_image_sets()
    assert image_sets.describe(CONFIG, "train_split") == "VOC2007/trainval (3) + VOC2012/trainval"
    assert image_sets.describe(CONFIG, "eval_split") == "VOC2007/test (2)"
    assert image_sets.obstacle(CONFIG, "train_split", "eval_split") == (
        f"needs VOC2012/trainval in {devkit}"
    )


def test_images_that_are_in_two_image_sets_count_once(make_image_sets, devkit):
    (devkit / "VOC2007" / "ImageSets" / "Main" / "few.txt").write_text("a\nd")
    image_sets = make_image_sets(VOC2012="VOC2007/few")
    assert image_sets.describe(CONFIG, "train_split") == (
        "VOC2007/trainval (3) + VOC2007/few (2, 1 of them new)"
    )
    image_sets = make_image_sets(VOC2012="VOC2007/trainval")
    assert image_sets.describe(CONFIG, "train_split") == "VOC2007/trainval (3)"


def test_only_test_images_may_lack_annotations(make_image_sets, devkit):
    image_sets = make_image_sets(VOC2012="VOC2007/trainval")
    assert image_sets.can_be_measured(CONFIG)
    for stem in "ae":
        (devkit / "VOC2007" / "Annotations" / f"{stem}.xml").unlink()
    image_sets = make_image_sets(VOC2012="VOC2007/trainval")
    assert not image_sets.can_be_measured(CONFIG)
    assert image_sets.obstacle(CONFIG, "eval_split") == ""
    assert image_sets.obstacle(CONFIG, "train_split") == "needs the annotations of VOC2007/trainval"

import pytest

from keras_frcnn.backbones import BACKBONES, strides_of
from keras_frcnn.config import PYRAMIDS
from keras_frcnn.inspection.check_data import statistics
from tests.inspection.conftest import scene


def test_objects_images_and_boxes_are_counted(folder, check):
    # Sides, as VOC counts them: 4 x 4, 10 x 40 and 8 x 16; the fourth has no area.
    boxes = [("cat", 1, 1, 4, 4), ("dog", 1, 1, 10, 40), ("cat", 1, 1, 16, 8), ("cat", 3, 3, 3, 9)]
    folder.add("a", boxes, image=scene(0)).add("b", [], image=scene(1))
    folder.add("c", [("dog", 1, 1, 60, 40)], image=scene(2), split="val")
    found = check(shorter_side=80, longer_side=100).statistics  # 40 x 60 grows by 100 / 60
    assert found["images"] == {"train": 2, "eval": 1}
    assert found["objects"] == {"train": 4, "eval": 1}
    rows = [tuple(row.values()) for row in found["classes"]]
    assert rows == [("cat", True, 3, 1, 0, 0), ("dog", True, 1, 1, 1, 1)]
    sizes = found["box_sizes"]
    assert sizes["from"] == [0, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert sizes["as_stored"] == [1, 1, 1, 1, 0, 0, 0, 0, 0]  # 4, 11.3, 20, 49
    assert sizes["as_resized"] == [1, 0, 1, 1, 1, 0, 0, 0, 0]  # 6.7, 18.9, 33.3, 81.6
    # Shorter sides 6.7, 16.7, 13.3 and 66.7.
    assert (sizes["stride"], sizes["share_below_stride"]) == (16, 0.5)
    assert found["aspect_ratios"]["counts"] == [0, 0, 0, 2, 1, 0, 0, 1, 0]  # 1, 4, 0.5, 0.67


def test_without_boxes_there_is_no_share(folder, check):
    folder.add("a", [], image=scene(0))
    found = check().statistics
    assert found["box_sizes"]["share_below_stride"] is None
    assert sum(found["aspect_ratios"]["counts"]) == 0


@pytest.mark.parametrize("name", BACKBONES)
def test_the_stride_is_that_of_the_finest_level_of_the_backbone(folder, check, name):
    folder.add("a", image=scene(0))
    found = check(backbone=name, scales=(32.0,) * len(strides_of(name))).statistics["box_sizes"][
        "stride"
    ]
    expected = {"mobilenet_v3_large_fpn32": 32}.get(name, 4 if name in PYRAMIDS else 16)
    assert found == min(strides_of(name)) == expected


def test_the_stride_decides_which_boxes_are_small(folder, check):
    folder.add("a", [("cat", 1, 1, 10, 10)], image=scene(0))
    source = check().source
    shares = [
        statistics.collect(source, 40, 60, stride)["box_sizes"]["share_below_stride"]
        for stride in (10, 11)
    ]
    assert shares == [0, 1]

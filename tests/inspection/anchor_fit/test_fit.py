"""The figures of ``anchor_fit``, by hand, and how they are printed and written."""

import io
import json

import numpy as np
import pytest

from keras_frcnn.config import Config
from keras_frcnn.console import Console
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.inspection.anchor_fit import report
from keras_frcnn.inspection.anchor_fit.fit import coverage, fit
from tests.inspection.anchor_fit.handmade import level_shapes, record

# Images of 128 x 128 as they are; the only anchors that fit are 32 x 32, around cells' centres.
SETTINGS = Config(
    shorter_side=128,
    longer_side=128,
    scales=(32.0, 256.0),
    ratios=(1.0,),
    min_size=16.0,
    train_split=("mine",),
)
BOXES = {
    "exact": [40, 40, 72, 72],  # around the centre of a cell
    "half": [40, 40, 72, 56],  # IoU 1/2 with the same anchor
    "thin": [40, 40, 72, 45],  # IoU 5/32, below 0.3; an anchor 16 wide covers it by 5/16
    "tiny": [40, 40, 48, 48],  # IoU 1/16
    "whole": [0, 0, 128, 128],  # IoU 1/16; that of the large anchors, clipped, is 1
}


def dataset(*names, difficult=()):
    boxes = [BOXES[name] for name in names]
    labels = [int(name in ("tiny", "whole")) for name in names]
    flags = [name in difficult for name in names]
    one = record("one", 128, 128, boxes, labels, flags)
    return Dataset(("cat", "<dog>", "none"), [one, record("empty", 128, 128, [], [], [])])


def fitted(data=None, *counts, strides=(16,), **settings):
    config = SETTINGS.replace(**settings)
    return fit(data or dataset(*BOXES), config, strides, level_shapes(*strides), *counts)


def test_coverage():
    assert coverage(np.array([0.2, 0.5, 0.7, 0.9])) == {
        "objects": 4,
        "mean_iou": pytest.approx(0.575),
        "share_50": 0.75,
        "share_70": 0.5,
    }
    nothing = {"objects": 0, "mean_iou": None, "share_50": None, "share_70": None}
    assert coverage(np.zeros(0)) == nothing


def test_the_three_kinds_of_anchors():
    kinds = fitted().kinds
    # Those of 256 x 256 that cross the border have an IoU of 1/4 with the whole image.
    inside = [1, 1 / 2, 5 / 32, 1 / 16, 1 / 16]
    assert kinds["inside"]["mean_iou"] == pytest.approx(np.mean(inside))
    assert kinds["all"]["mean_iou"] == pytest.approx(np.mean([*inside[:4], 1 / 4]))
    assert kinds["clipped"]["mean_iou"] == pytest.approx(np.mean([*inside[:4], 1]))
    assert [kinds[kind]["share_50"] for kind in kinds] == pytest.approx([0.4, 0.4, 0.6])
    assert [kinds[kind]["share_70"] for kind in kinds] == pytest.approx([0.2, 0.2, 0.4])


def test_training_is_by_the_setting():
    assert fitted().training == "inside"
    result = fitted(rpn_border_anchors=True)
    assert result.training == "all"
    assert result.working_sizes[2]["training"] == result.kinds["all"]


def test_groups():
    result = fitted()
    rows = result.groups["class"]
    assert [row["name"] for row in rows] == ["cat", "<dog>", "none"]
    assert [row["training"]["objects"] for row in rows] == [3, 2, 0]
    assert rows[0]["training"]["mean_iou"] == pytest.approx((1 + 1 / 2 + 5 / 32) / 3)
    assert rows[1]["training"]["share_50"] == 0 and rows[1]["proposals"]["share_50"] == 0.5
    # The object of 32 x 32 is not small; the roots of the areas of the next three are below 32.
    sizes = result.groups["original_size"]
    assert [(row["name"], row["training"]["objects"]) for row in sizes] == [
        ("small", 3),
        ("medium", 1),
        ("large", 1),
    ]
    assert result.groups["working_size"] == sizes  # images keep their size


def test_sizes_are_measured_before_and_after_resizing():
    result = fitted(shorter_side=384, longer_side=384)
    counts = {
        group: [row["training"]["objects"] for row in result.groups[group]]
        for group in ("original_size", "working_size")
    }
    # By 3: exact 96, half 68, thin 38, tiny 24, whole 384.
    assert counts == {"original_size": [3, 1, 1], "working_size": [1, 2, 2]}


def test_limits():
    assert fitted().limits == {
        "below_stride": 2,  # thin, tiny
        "forced_only": 4,  # all but exact
        "below_background": 3,  # all but exact and half
        "untouched": 0,
        # A proposal of 32 x 16 covers thin by 5/16, one of 16 x 16 tiny by 1/4.
        "too_small": 2,
    }
    assert fitted(min_size=8.0).limits["too_small"] == 0  # thin by 5/8, tiny exactly
    larger = fitted(shorter_side=384, longer_side=384).limits
    assert (larger["below_stride"], larger["too_small"]) == (1, 2)  # by original pixels: still 2
    assert fitted(scales=(256.0,)).limits["untouched"] == 5  # none of the anchors is inside
    assert fitted(scales=(256.0,)).limits["forced_only"] == 0
    assert fitted(rpn_fg_iou_threshold=0.5).limits["forced_only"] == 3  # reached by half, too


def test_difficult_objects_count_only_where_training_keeps_them():
    data = dataset(*BOXES, difficult=("tiny", "whole"))
    assert fitted(data).data == {
        "images": 2,
        "objects": 3,
        "difficult_left_out": 2,
        "splits": ["mine"],
    }
    assert fitted(data, difficult="ignore").data["objects"] == 3
    kept = fitted(data, difficult="keep").data
    assert (kept["objects"], kept["difficult_left_out"]) == (5, 0)


def test_suggestions_are_measured_like_the_chosen_anchors():
    data = dataset("exact", "half", "thin")
    result = fitted(data, 1, 2, scales=(64.0,))
    again = fitted(
        data,
        scales=tuple(result.suggested["scales"]),
        ratios=tuple(result.suggested["ratios"]),
    )
    assert result.suggested["training"] == again.kinds["inside"]
    assert result.suggested["proposals"] == again.kinds["clipped"]
    assert result.gain > 0.1
    assert again.gain == pytest.approx(0, abs=1e-6)


def test_as_many_as_chosen_are_suggested():
    result = fitted()
    assert (len(result.suggested["scales"]), len(result.suggested["ratios"])) == (2, 1)


def test_flags_can_be_pasted():
    result = fitted(dataset("exact"), 1, 1)
    assert result.flags == "--scales=32 --ratios=1"


def test_other_sizes_of_the_images():
    rows = fitted(dataset("tiny")).working_sizes
    assert [row["shorter_side"] for row in rows] == [64, 96, 128, 192, 256]
    assert [row["longer_side"] for row in rows] == [64, 96, 128, 192, 256]
    assert [row["pixels"] for row in rows] == [64**2, 96**2, 128**2, 192**2, 256**2]
    assert [row["share_below_stride"] for row in rows] == [1, 1, 1, 1, 0]
    # Twice as large the object is 16 x 16 around a point between two cells' centres.
    assert rows[-1]["training"]["mean_iou"] == pytest.approx(256 / 1024)


def test_no_objects_are_refused():
    with pytest.raises(ValueError, match="2 images with 1 objects marked difficult and no oth"):
        fitted(dataset("tiny", difficult=("tiny",)))


def test_json_holds_everything(tmp_path):
    result = fitted()
    report.write_json(result, tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content == result.to_dict() | {"gain": content["gain"]}
    assert content["flags"] == result.flags and content["gain"] == pytest.approx(result.gain)


def printed(result):
    console = Console(width=80, file=io.StringIO())
    report.print_fit(result, console)
    return console.file.getvalue()


def test_the_report_fits_a_console_and_says_all():
    text = printed(fitted(dataset(*BOXES, difficult=("whole",))))
    assert max(map(len, text.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "4 objects in 2 images of mine, resized to 128 / 128; 1 difficult ones left out" in lines
    for line in (
        "scales 32, 256",
        "training: anchors inside the image 50.0% 25.0% 0.430",
        "proposals: all, clipped to the image 50.0% 25.0% 0.430",
        "<dog> 1 0.0% 0.0% 0.062 0.0% 0.0% 0.062",
        "none 0 - - - - - -",
        "large, >= 96 px 0 - - - - - -",
        "have a side below the stride, 16 pixels 2 50.0%",
        "no proposal can match (IoU 0.5), because of --min_size 2 50.0%",
    ):
        assert line in lines
    assert lines[-1].startswith("--scales=") and " --ratios=" in lines[-1]


def test_the_verdict_says_whether_to_change():
    good = fitted(dataset("exact"), scales=(32.0,))
    assert report.verdict(good).startswith("The chosen anchors (100.0% at IoU 0.5, ")
    assert "about as good as any 1 scales x 1 ratios" in report.verdict(good)
    bad = report.verdict(fitted(dataset("exact"), scales=(64.0,)))
    assert bad == (
        "The chosen anchors cover 0.0% at IoU 0.5, 0.0% at 0.7, mean 0.250; the best 1 scales x 1 "
        "ratios found 100.0% at IoU 0.5, 100.0% at 0.7, mean 1.000:"
    )
    more = fitted(dataset("exact"), 2, 1, scales=(32.0,))  # others were asked for: shown as such
    assert "the best 2 scales x 1 ratios found" in report.verdict(more)


def test_two_levels():
    result = fitted(strides=(8, 16))
    assert (result.chosen["stride"], result.chosen["strides"]) == (8, [8, 16])
    assert result.limits["below_stride"] == 1  # thin
    assert result.kinds["inside"]["mean_iou"] >= fitted().kinds["inside"]["mean_iou"]
    lines = [" ".join(line.split()) for line in printed(result).splitlines()]
    assert "have a side below the smallest stride, 8 pixels 1 20.0%" in lines
    assert "strides 8, 16 >= 0.5 >= 0.7 IoU" in lines
    one = fitted()
    assert (one.chosen["stride"], one.chosen["strides"]) == (16, [16])


def test_levels_with_their_own_scales():
    own = {"strides": (8, 16), "scales": ((16.0,), (32.0,))}
    result = fitted(dataset("exact", "tiny"), **own)
    assert result.chosen["scales"] == [[16.0], [32.0]]
    assert result.kinds["inside"]["mean_iou"] == pytest.approx((1 + 1 / 4) / 2)
    assert [len(of_level) for of_level in result.suggested["scales"]] == [1, 1]
    assert result.suggested["training"]["mean_iou"] == 1
    assert result.flags == "--scales=8,32 --ratios=1"
    lines = [" ".join(line.split()) for line in printed(result).splitlines()]
    assert "scales 16; 32" in lines and lines[-1] == result.flags
    assert "the best 2 scales x 1 ratios found" in report.verdict(result)


def test_text_of_others_cannot_command_the_terminal():
    data = dataset("exact")
    data.class_names = ("[bold]\x1b[31mcat", "b", "c")
    text = printed(fitted(data))
    assert "\x1b" not in text and "[bold]" in text

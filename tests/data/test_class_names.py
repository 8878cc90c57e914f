"""Which class names mean the same."""

import pytest

from keras_frcnn.data import class_names
from keras_frcnn.data.categories import VOC_CLASSES

# COCO's eighty, as its annotations have them, in the order of their ids.
COCO_CLASSES = """
person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,
parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,
handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,
surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,
broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,
mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,
teddy bear,hair drier,toothbrush
""".replace("\n", "").split(",")


def test_each_voc_class_is_one_of_cocos():
    assert len(COCO_CLASSES) == 80
    found = class_names.match(VOC_CLASSES, COCO_CLASSES)
    assert [COCO_CLASSES[label] for label in found] == [
        *("airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("dining table", "dog", "horse", "motorcycle", "person", "potted plant", "sheep"),
        *("couch", "train", "tv"),
    ]
    back = class_names.match(COCO_CLASSES, VOC_CLASSES)
    assert sum(label >= 0 for label in back) == 20
    assert [back[label] for label in found] == list(range(20))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("diningtable", 0),
        ("dining table", 0),
        ("Dining_Table", 0),
        (" DINING-TABLE ", 0),
        ("ｄｉｎｉｎｇ\u00a0table", 0),  # wide letters, a blank that does not break
        ("dining tables", -1),
        ("table", -1),
        ("Airplane", 1),
        ("AERO-PLANE", 1),
        ("plane", -1),
        ("STRASSE", 2),
        ("cafe\u0301", 3),  # the accent as a letter of its own
        ("cafe", -1),
        ("c++", 4),
        ("C", -1),
        ("--", 5),
        ("-", -1),
        ("", -1),
    ],
)
def test_case_blanks_and_punctuation_do_not_count(name, expected):
    ours = ("dining table", "aeroplane", "straße", "café", "C++", "--")
    assert class_names.match([name], ours).tolist() == [expected]


def test_the_closest_name_wins():
    ours = ("Cat", "cat", "airplane", "aeroplane")
    assert class_names.match(("cat", "Cat", "aeroplane", "Air-plane"), ours).tolist() == [
        1,
        0,
        3,
        2,
    ]


def test_several_names_may_mean_one_class():
    labels = class_names.match(("tv", "dog", "TV monitor", "tvmonitor"), ("tvmonitor", "cow"))
    assert labels.tolist() == [0, -1, 0, 0]
    assert class_names.match((), ("cow",)).shape == (0,)


@pytest.mark.parametrize("ours", [("Cat", "c-a-t"), ("cow", "CAT", "cat ")])
def test_a_name_that_could_mean_two_classes_is_refused(ours):
    with pytest.raises(ValueError, match="'cat' could be any of '[cC].*, '[cC].*': rename one"):
        class_names.match(("cat",), ours)
    with pytest.raises(ValueError, match="'couch' could be any of 'sofa', 'Sofa'"):
        class_names.match(("couch",), ("sofa", "Sofa"))


def test_classes_that_look_alike_are_named():
    names = ("Disc", "person", "caf\u00e9", "disc", "cafe\u0301", "Person ", "dog", "DISC")
    end = (
        " look alike. If they are one class, write it in one way in the annotations, or list it "
        "once in --classes_file"
    )
    assert class_names.look_alikes(names) == [
        f"the classes {words}{end}"
        for words in (
            "'Disc', 'disc' and 'DISC'",
            "'person' and 'Person '",
            "'caf\u00e9' and 'cafe\\u0301'",
        )
    ]
    assert class_names.look_alikes((*names[1:3], "a", "b", "ab")) == []
    assert len(class_names.look_alikes(("a\u200bb", "ab"))) == 1
    for known in (VOC_CLASSES, COCO_CLASSES):
        assert class_names.look_alikes(known) == []

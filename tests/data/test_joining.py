"""Several data sets as one: classes by name, ids, images and objects of both."""

import json

import numpy as np
import pytest

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data import joining, pipeline, proposals_file
from keras_frcnn.data.images.preprocessing import CAFFE
from keras_frcnn.evaluation.metrics import coco
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.evaluation.metrics.evaluate import evaluate
from keras_frcnn.evaluation.report import coco_files
from tests.data.conftest import CocoFolder

CATEGORIES = [
    {"id": 1, "name": "Dog"},
    {"id": 3, "name": "couch"},
    {"id": 8, "name": "truck"},
    {"id": 72, "name": "tv"},
    {"id": 90, "name": "TV-monitor"},
]


@pytest.fixture
def voc(voc_folder):
    """A dog and a sofa, one of them difficult, and a monitor."""
    folder = voc_folder("voc").add("000001", [("dog", 1, 1, 5, 5)]).add("7", [])
    folder.annotate(
        "000001",
        folder.object_xml("sofa", 2, 2, 8, 9, difficult=1)
        + folder.object_xml("tvmonitor", 1, 1, 5, 5)
        + folder.object_xml("dog", 3, 1, 9, 5),
    )
    return folder


@pytest.fixture
def other(tmp_path):
    """The same classes by other names, one as a crowd region, and trucks."""
    folder = CocoFolder(tmp_path / "coco", "train2017")
    folder.content["categories"] = CATEGORIES
    folder.add(1, ([0, 0, 5, 6], 8), ([1, 0, 5, 6], 3, {"iscrowd": 1}), ([2, 0, 5, 6], 72))
    return folder.add(2, ([0, 0, 9, 9], 8)).add(3, ([4, 0, 5, 6], 90), ([5, 0, 5, 6], 1))


def settings(*folders, **more):
    forms = ["coco" if isinstance(folder, CocoFolder) else "voc" for folder in folders]
    folders = [str(folder.root) for folder in folders]
    return Config(dataset=tuple(forms), data_dir=tuple(folders), **more)


def objects(dataset):
    """Class and left edge of each object, by image."""
    return {
        record.image_id: [
            (dataset.class_names[label], float(box[1]))
            for label, box in zip(record.labels, record.boxes, strict=True)
        ]
        for record in dataset.records
    }


def test_the_first_data_sets_classes_count_and_the_others_are_matched_by_name(voc, other):
    dataset = data.load(settings(voc, other), ("train", "train2017"))
    assert dataset.class_names == ("dog", "sofa", "tvmonitor")
    assert objects(dataset) == {
        "000001": [("sofa", 1), ("tvmonitor", 0), ("dog", 2)],
        "7": [],
        "1": [("sofa", 1), ("tvmonitor", 2)],
        "2": [],
        "3": [("tvmonitor", 4), ("dog", 5)],
    }
    assert [r.difficult.tolist() for r in dataset.records] == [
        [True, False, False], [], [True, False], [], [False, False],
    ]  # fmt: skip
    place = f"coco in {other.root}"
    assert dataset.skipped == [f"{place}: objects of unmatched classes: truck (2)"]
    words = "Dog is dog, couch is sofa, tv is tvmonitor, TV-monitor is tvmonitor"
    assert dataset.remarks == [f"{place}: {words}"]
    assert dataset.truth is None and dataset.form == "voc"
    assert [record.form for record in dataset.records] == ["voc", "voc", "coco", "coco", "coco"]


def test_the_order_of_the_data_sets_decides(voc, other):
    dataset = data.load(settings(other, voc), ("train2017", "train"))
    assert dataset.class_names == ("Dog", "couch", "truck", "tv", "TV-monitor")
    assert objects(dataset)["000001"] == [("couch", 1), ("TV-monitor", 0), ("Dog", 2)]
    assert dataset.skipped == [] and dataset.form == "coco"
    assert dataset.remarks[-1] == (
        f"voc in {voc.root}: has no annotations of truck, tv; their objects in these "
        "images count as background"
    )


def test_a_classes_file_chooses_for_all(voc, other, tmp_path):
    (tmp_path / "names.txt").write_text("TV\nTruck\n")
    config = settings(voc, other, classes_file=str(tmp_path / "names.txt"))
    dataset = data.load(config, ("train", "train2017"))
    assert dataset.class_names == ("TV", "Truck")
    assert objects(dataset) == {
        "000001": [("TV", 0)],
        "7": [],
        "1": [("Truck", 0), ("TV", 2)],
        "2": [("Truck", 0)],
        "3": [("TV", 4)],
    }
    assert dataset.skipped == [
        f"voc in {voc.root}: objects of unmatched classes: dog (1), sofa (1)",
        f"coco in {other.root}: objects of unmatched classes: Dog (1), couch (1)",
    ]


def test_only_what_is_asked_for_is_read(voc, other):
    config = settings(voc, other)
    assert len(data.load(config, ("train", "-")).records) == 2
    dataset = data.load(config, ("-", "train2017"), ("sofa", "cow"))
    assert objects(dataset) == {1: [("sofa", 1)], 2: [], 3: []}
    (line,) = dataset.skipped
    assert line.endswith("unmatched classes: Dog (1), truck (2), tv (1), TV-monitor (1)")
    assert "has no annotations of cow; their objects" in dataset.remarks[-1]
    with pytest.raises(ValueError, match="each of the datasets voc, coco.*Received: train$"):
        data.load(config, ("train",))


def test_a_model_of_one_data_set_is_measured_on_another(other):
    """The results keep COCO's numbers; one that it lacks gets another."""
    ours = ("tvmonitor", "cow", "sofa", "dog")
    dataset = data.load(settings(other), ("train2017",), ours, strict=False)
    assert dataset.truth.class_names == dataset.class_names == ours
    assert dataset.truth.category_ids == (72, 91, 3, 1)
    assert dataset.truth.labels.tolist() == [2, 0, 0, 3]
    assert dataset.truth.rows.tolist() == [0, 0, 2, 2]
    assert dataset.truth.crowd.tolist() == [True, False, False, False]
    assert dataset.truth.image_ids == (1, 2, 3)
    assert dataset.truth.bboxes[:, 0].tolist() == [1, 2, 4, 5]
    alone = data.load(settings(other), ("train2017",), ours, strict=False, images=False)
    assert alone.records == [] and alone.truth.category_ids == (72, 91, 3, 1)
    assert alone.skipped == dataset.skipped == [
        f"coco in {other.root}: objects of unmatched classes: truck (2)"
    ]  # fmt: skip


def test_in_a_lone_data_set_a_class_that_matches_none_is_a_bad_record(other):
    config = settings(other)
    with pytest.raises(ValueError, match="1 problem.*\n.*0001.jpg: object of class truck and 1 mo"):
        data.load(config, ("train2017",), ("dog", "sofa", "tvmonitor"))
    config = config.replace(on_bad_record="skip")
    dataset = data.load(config, ("train2017",), ("dog", "sofa", "tvmonitor"))
    assert [len(record.labels) for record in dataset.records] == [2, 0, 2]
    (line,) = dataset.skipped
    assert line.endswith("unknown class; known are dog, sofa, tvmonitor; object dropped")
    config = config.replace(on_bad_record="error")
    with pytest.raises(ValueError, match=f"coco in {other.root}: object of class truck and 1 more"):
        data.load(config, ("train2017",), ("dog", "sofa", "tvmonitor"), images=False)


@pytest.mark.parametrize("strict", [False, True])
def test_data_that_have_none_of_the_classes_are_refused_naming_both_lists(other, strict):
    with pytest.raises(ValueError, match="of the classes cow, car. Received: Dog, couch, truck"):
        data.load(settings(other), ("train2017",), ("cow", "car"), strict=strict)


def test_a_first_data_set_without_objects_gives_no_classes(voc_folder, other):
    empty = voc_folder("empty").add("a", [])
    with pytest.raises(ValueError, match="empty: expected objects in train, or class names in"):
        data.load(settings(empty, other), ("train", "train2017"))
    dataset = data.load(settings(empty, other), ("train", "train2017"), ("dog",))
    assert objects(dataset) == {"a": [], "1": [], "2": [], "3": [("dog", 5)]}


# --- ids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "forms", "expected"),
    [
        ([["000001"], [1]], ["voc", "coco"], [("000001",), ("1",)]),
        ([[3, 1], [2]], ["coco", "coco"], [(3, 1), (2,)]),
        ([["1", "a"], [1, 2]], ["voc", "coco"], [("voc/1", "voc/a"), ("coco/1", "coco/2")]),
        ([["a"], ["b"], ["a"]], ["voc", "coco", "voc"], [("voc1/a",), ("coco/b",), ("voc3/a",)]),
        ([["a", "a"], ["b"]], ["voc", "voc"], [("a", "a"), ("b",)]),
        ([[], ["a"]], ["voc", "voc"], [(), ("a",)]),
    ],
)
def test_ids_stay_plain_unless_two_sources_share_one(ids, forms, expected):
    assert joining.distinct(ids, forms) == expected


def test_joined_coco_data_have_a_truth_to_evaluate_and_write_results_for(tmp_path, other):
    second = CocoFolder(tmp_path / "more", "val")
    second.content["categories"] = [{"id": 5, "name": "sofa"}, {"id": 7, "name": "dog"}]
    second.add(1, ([6, 0, 5, 6], 7), ([7, 0, 5, 6], 5)).add(9)
    config = settings(other, second)
    dataset = data.load(config, ("train2017", "val"))
    ids = ("coco1/1", "coco1/2", "coco1/3", "coco2/1", "coco2/9")
    truth = dataset.truth
    assert tuple(record.image_id for record in dataset.records) == truth.image_ids == ids
    assert truth.category_ids == (1, 3, 8, 72, 90)
    assert truth.rows.tolist() == [0, 0, 0, 1, 2, 2, 3, 3]
    assert [truth.class_names[label] for label in truth.labels[-2:]] == ["Dog", "couch"]
    assert truth.bboxes[:, 0].tolist() == [0, 1, 2, 0, 4, 5, 6, 7]
    alone = data.load(config, ("train2017", "val"), images=False).truth
    assert alone.image_ids == ids and alone.rows.tolist() == truth.rows.tolist()

    found = {
        record.image_id: {
            "boxes": record.boxes,
            "labels": record.labels,
            "scores": np.full(len(record.labels), 0.9, np.float32),
        }
        for record in dataset.records
    }
    assert evaluate(dataset, found).figures["AP"] == 1
    path = tmp_path / "found.json"
    coco_files.write(path, to_table(found, truth), truth)
    assert coco.evaluate(truth, coco_files.read(path, truth)).figures["AP"] == 1
    assert json.loads(path.read_text())[-1] == {
        "image_id": "coco2/1", "category_id": 3, "bbox": [7, 0, 5, 6], "score": pytest.approx(0.9),
    }  # fmt: skip


def test_joined_data_can_train_on_a_proposals_file(voc, other, tmp_path):
    """It holds ids of one kind only, so that numbers among texts would not be found again."""
    dataset = data.load(settings(voc, other), ("train", "train2017"))
    found = [(r.image_id, [[0, 0, 9, 10 + n]], [0.5]) for n, r in enumerate(dataset.records)]
    proposals_file.write(tmp_path / "proposals.npz", found)
    proposals = proposals_file.read_for(tmp_path / "proposals.npz", dataset.records[::-1], 1)
    assert proposals.boxes[:, 3].tolist() == [14, 13, 12, 11, 10]


# --- the same image twice ---------------------------------------------------------------------


def test_an_image_that_two_data_sets_share_is_refused_or_left_out_the_second_time(tmp_path, other):
    config = settings(other, other)
    splits = ("train2017", "train2017")
    first = other.images / "000000000001.jpg"
    place = f"coco in {other.root}"
    with pytest.raises(ValueError, match=f"1 problem.*\n.*{first} and 2 more: in {place} and in"):
        data.load(config, splits)
    more = CocoFolder(other.root, "more", images="train2017")
    more.add(3, ([7, 0, 5, 6], 3)).add(4, ([8, 0, 5, 6], 3))
    more.content["categories"] = [{"id": 3, "name": "sofa"}]
    more.save()
    config = config.replace(on_bad_record="skip")
    dataset = data.load(config, ("train2017", "more:train2017"))
    assert [record.image_id for record in dataset.records] == [1, 2, 3, 4]
    assert dataset.truth.image_ids == (1, 2, 3, 4)
    assert dataset.truth.rows.tolist() == [0, 0, 0, 1, 2, 2, 3]
    assert dataset.truth.bboxes[-1, 0] == dataset.records[-1].boxes[0, 1] == 8
    (line,) = dataset.skipped
    third = other.images / "000000000003.jpg"
    assert line == f"{third}: in {place} and in {place}; left out the second time"


# --- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difficult", "expected"),
    [
        ("auto", {"crowd couch": True}),
        ("drop", {}),
        ("ignore", {"difficult sofa": True, "crowd couch": True}),
        ("keep", {"difficult sofa": False, "crowd couch": False}),
    ],
)
def test_difficult_objects_and_crowd_regions_each_have_their_datas_default(
    voc, tmp_path, difficult, expected
):
    crowd = CocoFolder(tmp_path / "coco")
    crowd.content["categories"] = [{"id": 3, "name": "couch"}]
    crowd.add(1, ([11, 0, 5, 6], 3, {"iscrowd": 1}))
    sizes = {"shorter_side": 40, "longer_side": 60, "flip": "none", "batch_size": 3}
    config = settings(voc, crowd, difficult=difficult, **sizes)
    dataset = data.load(config, ("train", "train"))
    inputs, targets = next(iter(pipeline.train_dataset(dataset, config, CAFFE)))
    assert sorted(inputs["index"].numpy()) == [0, 1, 2]
    name_of = {0: "monitor", 1: "difficult sofa", 2: "dog", 11: "crowd couch"}  # by the left edge
    found = {
        name_of[int(box[1])]: bool(ignored)
        for boxes, labels, ignores in zip(
            *(targets[name].numpy() for name in ("boxes", "labels", "ignore")), strict=True
        )
        for box, label, ignored in zip(boxes, labels, ignores, strict=True)
        if label >= 0
    }
    assert found == {"monitor": False, "dog": False} | expected


def test_images_of_nothing_but_left_out_objects_are_background_as_the_setting_says(voc, other):
    sizes = {"shorter_side": 40, "longer_side": 60, "flip": "none"}
    config = settings(voc, other, **sizes)
    dataset = data.load(config, ("train", "train2017"))

    def drawn(config):
        stream = pipeline.train_dataset(dataset, config, CAFFE).take(len(dataset.records))
        batches = [(int(i["index"][0]), (t["labels"].numpy() >= 0).sum()) for i, t in stream]
        return dict(sorted(batches))

    assert drawn(config) == {0: 2, 1: 0, 2: 2, 3: 0, 4: 2}  # 3 is the image of a truck
    assert drawn(config.replace(include_empty=False)) == {0: 2, 2: 2, 4: 2}

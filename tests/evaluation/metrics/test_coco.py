"""COCO's figures: by hand, and against pycocotools on random detections."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_frcnn.config import Config
from keras_frcnn.data import load
from keras_frcnn.evaluation.metrics import coco, ground_truth
from keras_frcnn.evaluation.report import coco_files
from tests.evaluation.handmade import dataset, evaluate_coco, found, record, tables

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl"] + ["AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
A, B = [0, 0, 10, 10], [100, 100, 120, 140]


# --- by hand ------------------------------------------------------------------------------------


def test_golden_with_a_loose_box_and_a_false_positive():
    # Best first: an IoU of 0.8 (found at 0.5 to 0.8: 7 of 10 thresholds), wrong, exact.
    data = dataset(record(1, (A, 0)), record(2, (B, 0)))
    detections = {1: found(([0, 0, 10, 8], 0.9)), 2: found((A, 0.8), (B, 0.7))}
    figures = evaluate_coco(data, detections).figures
    # The precisions 1 and 2/3 hold at the recalls 0 to 0.5 and 0.51 to 1. Above 0.8 the loose box
    # is wrong as well: 1/3 at the recalls 0 to 0.5.
    low, high = (51 + 50 * 2 / 3) / 101, 51 / 3 / 101
    assert figures["AP"] == pytest.approx((7 * low + 3 * high) / 10)
    assert figures["AP50"] == figures["AP75"] == pytest.approx(low)
    assert figures["APs"] == pytest.approx((7 * low + 3 * high) / 10)
    assert figures["AR1"] == pytest.approx(7 / 10 / 2)  # the best of image 2 is wrong
    assert figures["AR10"] == figures["AR100"] == pytest.approx((7 * 2 + 3 * 1) / 10 / 2)
    assert np.isnan([figures[name] for name in ("APm", "APl", "ARm", "ARl")]).all()


def test_classes_without_objects_are_left_out_of_the_means():
    data = dataset(record("a", (A, 0)), class_names=("cat", "dog"))
    result = evaluate_coco(data, {"a": found((A, 0.5), (A, 0.9, 1))})
    cat, dog = result.classes
    assert result.figures["AP"] == cat.figures["AP"] == 1
    assert np.isnan(list(dog.figures.values())).all()
    assert (cat.num_gt, cat.num_detections, dog.num_gt, dog.num_detections) == (1, 1, 0, 1)
    values = result.to_dict()
    assert (values["num_classes"], values["num_classes_without_gt"]) == (2, 1)
    assert values["classes"]["cat"]["AP75"] == 1


def test_detections_inside_a_difficult_object_are_not_counted():
    data = dataset(record("a", (A, 0), (B, 0, True)))
    inside = [105, 105, 110, 110]
    half_outside = [100, 90, 120, 110]  # half of it lies inside, so it counts above 0.5
    detections = {"a": found((inside, 0.9), (B, 0.8), (inside, 0.7), (A, 0.6))}
    result = evaluate_coco(data, detections)
    assert result.figures["AP"] == 1
    assert (result.classes[0].num_gt, result.classes[0].num_crowd) == (1, 1)
    figures = evaluate_coco(data, {"a": found((half_outside, 0.9), (A, 0.6))}).figures
    assert figures["AP50"] == 1
    assert figures["AP75"] == pytest.approx(0.5)


def test_nothing_at_all():
    for data, detections in ((dataset(), {}), (dataset(record(1)), {1: found((A, 0.5))})):
        result = evaluate_coco(data, detections)
        assert list(result.figures) == NAMES
        assert np.isnan(list(result.figures.values())).all()
    result = evaluate_coco(dataset(record(1, (A, 0)), record(2)), {})
    assert result.figures["AP"] == result.figures["AR100"] == 0
    assert (result.num_images, result.num_images_without_detections) == (2, 2)


def test_what_does_not_fit_is_named():
    data = dataset(record(1, (A, 0)))
    with pytest.raises(ValueError, match="unknown image ids: 1, the first is '1'"):
        evaluate_coco(data, {"1": found((A, 0.5))})
    with pytest.raises(ValueError, match="labels must be between 0 and 0"):
        evaluate_coco(data, {1: found((A, 0.5, 1))})
    with pytest.raises(ValueError, match="Received twice: 1"):
        evaluate_coco(dataset(record(1), record(2), record(1)), {})


def test_the_truth_of_records():
    truth = ground_truth.of_records(
        dataset(record("x"), record("y", (B, 1), (A, 0, True)), class_names=("a", "b"))
    )
    assert (truth.image_ids, truth.category_ids) == (("x", "y"), (1, 2))
    assert truth.rows.tolist() == [1, 1] and truth.labels.tolist() == [1, 0]
    assert truth.bboxes.tolist() == [[100, 100, 40, 20], [0, 0, 10, 10]]
    assert truth.areas.tolist() == [800, 100] and truth.crowd.tolist() == [False, True]


# --- against pycocotools ------------------------------------------------------------------------


def reference(ground_truth, detections):
    """Returns pycocotools' twelve figures and the AP of each category, NaN where undefined."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(ground_truth)
        truth.createIndex()
        if detections:
            answer = truth.loadRes(copy.deepcopy(detections))
        else:
            answer = COCO()
            answer.dataset = {**copy.deepcopy(ground_truth), "annotations": []}
            answer.createIndex()
        work = COCOeval(truth, answer, "bbox")
        work.evaluate()
        work.accumulate()
        work.summarize()
    precision = work.eval["precision"][:, :, :, 0, 2]
    by_class = [
        np.mean(p[p > -1]) if (p > -1).any() else np.nan for p in precision.transpose(2, 0, 1)
    ]
    return np.where(work.stats < 0, np.nan, work.stats), by_class


def random_files(seed):
    """Makes a ground truth and detections in COCO's form: ties, crowds, empty images and classes,
    boxes that just touch a threshold, more than 100 detections of a class.
    """
    rng = np.random.default_rng(seed)
    image_ids = rng.permutation(1000)[: rng.integers(1, 25)].tolist()
    categories = sorted(rng.permutation(90)[: rng.integers(1, 6)].tolist())
    grid = float(rng.choice([0.01, 1, 8]))

    def boxes(number):
        corner, size = rng.uniform(0, 200, [number, 2]), np.exp(rng.uniform(1, 6, [number, 2]))
        return (np.round(np.concatenate([corner, size], axis=1) / grid) * grid).round(2)

    annotations, detections = [], []
    for image_id in image_ids:
        truth = boxes(rng.integers(0, 8) * rng.integers(0, 2))
        kinds = rng.choice(categories[: max(1, len(categories) - 1)], len(truth)).tolist()
        for bbox, kind in zip(truth, kinds, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": kind,
                    "bbox": bbox.tolist(),
                    "area": float(bbox[2] * bbox[3] * rng.uniform(0.3, 1)),
                    "iscrowd": int(rng.random() < 0.2),
                }
            )
        near = truth[rng.integers(0, len(truth), 12)] if len(truth) else truth
        near = near * rng.choice([1, 1, 0.5, 0.75, 0.9, 1.1], near.shape)
        many = rng.choice([0, 3, 130], p=[0.3, 0.6, 0.1])
        for bbox in np.concatenate([near, boxes(many)]):
            detections.append(
                {
                    "image_id": image_id,
                    "category_id": int(rng.choice(categories)),
                    "bbox": bbox.tolist(),
                    "score": float(rng.choice([rng.random(), rng.integers(0, 4) / 4])),
                }
            )
    detections = [detections[i] for i in rng.permutation(len(detections))]
    ground_truth = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": 1000, "width": 1000} for i in image_ids
        ],
        "categories": [{"id": c, "name": f"class {c}"} for c in categories],
        "annotations": annotations,
    }
    return ground_truth, detections


def annotations_alone(folder):
    config = Config(dataset="coco", data_dir=str(folder))
    return load(config, ("gt.json",), images=False)


@pytest.mark.parametrize("seed", range(40))
def test_files_give_pycocotools_figures(seed, tmp_path):
    ground_truth, detections = random_files(seed)
    (tmp_path / "gt.json").write_text(json.dumps(ground_truth))
    (tmp_path / "found.json").write_text(json.dumps(detections))
    data = annotations_alone(tmp_path)
    found = coco_files.read(tmp_path / "found.json", data.truth)
    result = coco.evaluate(data.truth, found)
    expected, by_class = reference(ground_truth, detections)
    assert data.skipped == [] and list(result.figures) == NAMES
    np.testing.assert_allclose(list(result.figures.values()), expected, atol=1e-9)
    np.testing.assert_allclose([c.figures["AP"] for c in result.classes], by_class, atol=1e-9)
    assert sum(c.num_gt + c.num_crowd for c in result.classes) == len(ground_truth["annotations"])
    assert sum(c.num_detections for c in result.classes) == len(detections)


@pytest.mark.parametrize("seed", range(100, 120))
def test_records_give_pycocotools_figures(seed):
    ground_truth, detections = random_files(seed)
    for item in ground_truth["annotations"] + detections:  # what a float32 holds to the bit
        item["bbox"] = np.round(item["bbox"]).tolist()
    for item in ground_truth["annotations"]:
        item["area"] = item["bbox"][2] * item["bbox"][3]
    for item in detections:
        item["score"] = float(np.float32(item["score"]))
    label_of = {c["id"]: label for label, c in enumerate(ground_truth["categories"])}

    def rows(items, image_id, *keys):
        of_image = [item for item in items if item["image_id"] == image_id]
        return [
            ([y, x, y + h, x + w], *(item[key] for key in keys), label_of[item["category_id"]])
            for item in of_image
            for x, y, w, h in [item["bbox"]]
        ]

    image_ids = [image["id"] for image in ground_truth["images"]]
    objects = {i: rows(ground_truth["annotations"], i, "iscrowd") for i in image_ids}
    data = dataset(
        *(record(i, *((box, k, bool(crowd)) for box, crowd, k in objects[i])) for i in image_ids),
        class_names=[c["name"] for c in ground_truth["categories"]],
    )
    result = evaluate_coco(data, {i: found(*rows(detections, i, "score")) for i in image_ids})
    expected, _ = reference(ground_truth, detections)
    np.testing.assert_allclose(list(result.figures.values()), expected, atol=1e-9)


def test_a_results_file_that_does_not_fit_is_named(tmp_path):
    ground_truth, _ = random_files(0)
    (tmp_path / "gt.json").write_text(json.dumps(ground_truth))
    truth = annotations_alone(tmp_path).truth
    entry = {"image_id": -1, "category_id": truth.category_ids[0], "bbox": [0, 0, 1, 1], "score": 1}
    path = tmp_path / "found.json"
    path.write_text(json.dumps([entry]))
    with pytest.raises(ValueError, match=r"found.json: .*unknown image ids: 1, the first is -1"):
        coco.evaluate(truth, coco_files.read(path, truth))
    path.write_text(json.dumps([entry | {"category_id": -1}]))
    with pytest.raises(ValueError, match=r"found.json, entry 0: category_id must be one of"):
        coco.evaluate(truth, coco_files.read(path, truth))


def test_detections_in_memory_and_on_disk_agree(tmp_path):
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 90, [30, 2]).astype(np.float32)
    boxes = np.concatenate([near, near + rng.uniform(1, 50, [30, 2])], axis=1)
    data = dataset(
        record(7, *((box, i % 2) for i, box in enumerate(boxes))), class_names=("a", "b")
    )
    near = boxes + rng.uniform(-0.5, 0.5, boxes.shape)
    detections = {7: found(*((box, rng.random(), i % 2) for i, box in enumerate(near)))}
    truth, table = tables(data, detections, "coco")
    coco_files.write(tmp_path / "found.json", table, truth)
    in_memory = evaluate_coco(data, detections)
    on_disk = coco.evaluate(truth, coco_files.read(tmp_path / "found.json", truth))
    assert str(in_memory.to_dict()) == str(on_disk.to_dict())

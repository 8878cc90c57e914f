"""Proposals files: what is written is read, the best are taken, and what is wrong is named."""

import json
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.data import proposals_file, proposals_json
from keras_frcnn.data.dataset import Record

FOUND = [
    ("a", [[1, 2, 30, 40], [0, 0, 10.5, 10]], [0.9, 0.25]),
    ("b", np.zeros((0, 4)), []),
    ("c", [[5, 5, 6, 7], [5, 5, 20, 20], [1, 1, 2, 2]], [3.0, 3.0, -1.0]),
]


def record(image_id, height=50, width=60):
    return Record(
        image_id, "", height, width, np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool)
    )


def arrays(**changes):
    """The four arrays of ``FOUND``, some of them changed."""
    content = {
        "image_ids": np.array(["a", "b", "c"]),
        "counts": np.array([2, 0, 3]),
        "boxes": np.concatenate([np.reshape(boxes, (-1, 4)) for _, boxes, _ in FOUND]),
        "scores": np.concatenate([scores for _, _, scores in FOUND]),
    }
    content["boxes"] = content["boxes"].astype("float32")
    content["scores"] = content["scores"].astype("float32")
    return {**content, **changes}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "found.npz"
    proposals_file.write(path, FOUND)
    return path


def test_what_is_written_is_read(path):
    found = proposals_file.read(path)
    assert found.image_ids == ["a", "b", "c"]
    np.testing.assert_array_equal(found.splits, [0, 2, 2, 5])
    assert (found.boxes.dtype, found.scores.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(found.boxes, arrays()["boxes"])
    np.testing.assert_array_equal(found.scores, arrays()["scores"])
    assert [part.name for part in path.parent.iterdir()] == ["found.npz"]


def test_numbered_images_and_a_generator_will_do(tmp_path):
    path = tmp_path / "found.npz"
    proposals_file.write(path, ((n, np.full((n, 4), n), np.zeros(n)) for n in (2, 1)))
    found = proposals_file.read(path)
    assert found.image_ids == [2, 1]
    assert all(type(number) is int for number in found.image_ids)
    np.testing.assert_array_equal(found.boxes, [[2] * 4, [2] * 4, [1] * 4])


def test_the_form_is_numpys_own(tmp_path):
    np.savez_compressed(tmp_path / "found.npz", **arrays())
    np.testing.assert_array_equal(
        proposals_file.read(tmp_path / "found.npz").boxes, arrays()["boxes"]
    )


def test_records_get_their_best_proposals_in_their_own_order(path):
    found = proposals_file.read_for(path, [record("c"), record("b"), record("a")], limit=2)
    assert found.image_ids == ["c", "b", "a"]
    np.testing.assert_array_equal(found.splits, [0, 2, 2, 4])
    np.testing.assert_array_equal(
        found.boxes, [[5, 5, 6, 7], [5, 5, 20, 20], [1, 2, 30, 40], [0, 0, 10.5, 10]]
    )
    np.testing.assert_array_equal(found.scores, np.float32([3, 3, 0.9, 0.25]))
    assert len(proposals_file.read_for(path, [], limit=2).boxes) == 0


def test_a_box_may_overhang_by_rounding_and_is_clipped(path):
    found = proposals_file.read_for(path, [record("a", 29, 39.5)], limit=9)
    np.testing.assert_array_equal(found.boxes, [[1, 2, 29, 39.5], [0, 0, 10.5, 10]])


def test_a_box_outside_its_image_is_named(path):
    with pytest.raises(ValueError) as caught:
        proposals_file.read_for(path, [record("c"), record("a", 40, 30)], limit=9)
    assert str(caught.value) == (
        f"{path}: a proposal of image 'a' leaves the image of height 40, width 30: "
        "[1.0, 2.0, 30.0, 40.0] (yxyx)"
    )


def test_images_without_an_entry_are_counted_and_named(path):
    records = [record("a"), record("x"), record("y")]
    with pytest.raises(ValueError, match=r"has no proposals of 2 of 3 images; .* 'x'"):
        proposals_file.read_for(path, records, limit=9)
    with pytest.raises(ValueError, match="has no proposals of 1 of 1 images; the first is 7"):
        proposals_file.read_for(path, [record(7)], limit=9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": arrays()["boxes"][:4]}, "expected one count for each image id"),
        ({"scores": np.zeros(6)}, "expected one count for each image id"),
        ({"counts": np.array([2, -1, 4])}, "expected one count for each image id"),
        ({"counts": np.array([2, 2**62, 2**62])}, "expected one count for each image id"),
        ({"counts": np.array([2, 3])}, "expected one count for each image id"),
        ({"boxes": np.zeros((5, 3))}, "expected one count for each image id"),
        ({"counts": np.array([2.0, 0, 3])}, "counts must have 1 dimension"),
        ({"image_ids": np.array([["a", "b", "c"]])}, "image_ids must have 1 dimension"),
        ({"scores": np.array(["x"] * 5)}, "scores must have 1 dimension"),
        ({"image_ids": np.array(["a", "b", "a"])}, "image 'a' occurs 2 times"),
        ({"boxes": arrays()["boxes"] * [1, 1, np.nan, 1]}, "'a' has a box that is not finite"),
        ({"boxes": arrays()["boxes"] * [1, 1, 1, -1]}, "'a' has a box .* ends before it begins"),
        ({"scores": np.array([9, 8, 3, np.inf, 1])}, "'c' has a score that is not finite"),
        ({"scores": np.array([9.0, 8, 3, 4, 1])}, "'c' does not have its best proposal first"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, changes, message):
    path = tmp_path / "found.npz"
    np.savez(path, **arrays(**changes))
    with pytest.raises(ValueError, match=rf"found\.npz: .*{message}"):
        proposals_file.read(path)


def test_nothing_wrong_is_written(tmp_path):
    with pytest.raises(ValueError, match="'x' has a box"):
        proposals_file.write(tmp_path / "found.npz", [("x", [[3, 3, 2, 2]], [0])])
    with pytest.raises(ValueError, match="image_ids must have"):
        proposals_file.write(tmp_path / "found.npz", [])
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_form_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "found.npz"
    with pytest.raises(ValueError, match=r"There is no proposals file .*found\.npz"):
        proposals_file.read(path)
    path.write_text("no archive")
    with pytest.raises(ValueError, match=r"found\.npz is not a proposals file"):
        proposals_file.read(path)
    np.savez(path, boxes=np.zeros((0, 4)))
    with pytest.raises(ValueError, match="is not a proposals file: .*image_ids"):
        proposals_file.read(path)
    # Objects would be unpickled, which runs what they say.
    np.savez(path, **arrays(image_ids=np.array(["a", "b", None], object)))
    with pytest.raises(ValueError, match="is not a proposals file: .*allow_pickle"):
        proposals_file.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in arrays():
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00")
    with pytest.raises(ValueError, match="is not a proposals file"):
        proposals_file.read(path)
    proposals_file.write(path, FOUND)
    monkeypatch.setattr(proposals_file, "_MAX_BYTES", 100)
    with pytest.raises(ValueError, match="more than 100 are refused"):
        proposals_file.read(path)


def test_looked_up_rows_are_padded_to_one_length(path):
    records = [record("b"), record("a"), record("c")]
    rows = proposals_file.lookup(str(path), records, 5, range(3))
    answers = [tf.function(rows)(tf.constant(row, tf.int64)) for row in range(3)]
    boxes = np.stack([answer["proposals"] for answer in answers])
    scores = np.stack([answer["proposal_scores"] for answer in answers])
    assert boxes.shape == (3, 3, 4)
    assert not boxes[0].any() and not scores[0].any()
    np.testing.assert_array_equal(boxes[1], [[1, 2, 30, 40], [0, 0, 10.5, 10], [0] * 4])
    np.testing.assert_array_equal(scores[1], np.float32([0.9, 0.25, 0]))
    np.testing.assert_array_equal(boxes[2], FOUND[2][1])


def test_only_wanted_rows_must_be_in_the_file(path):
    records = [record("missing"), record("c"), record("absent"), record("a")]
    rows = proposals_file.lookup(str(path), records, 5, [3, 1])
    boxes = np.stack([rows(tf.constant(row))["proposals"] for row in range(4)])
    assert not boxes[[0, 2]].any()
    np.testing.assert_array_equal(boxes[1], FOUND[2][1])
    np.testing.assert_array_equal(boxes[3], [[1, 2, 30, 40], [0, 0, 10.5, 10], [0] * 4])
    with pytest.raises(ValueError, match="no proposals of 1 of 2 images; the first is 'absent'"):
        proposals_file.lookup(str(path), records, 5, [1, 2])


def test_a_file_without_any_proposal_is_one_row_of_padding(tmp_path):
    path = tmp_path / "found.npz"
    proposals_file.write(path, [("a", np.zeros((0, 4)), [])])
    answer = proposals_file.lookup(str(path), [record("a")], 5, [0])(tf.constant(0))
    np.testing.assert_array_equal(answer["proposals"], [[0] * 4])


def test_the_rpns_proposals_are_not_looked_up():
    assert proposals_file.lookup("rpn", [record("a")], 5, [0])(tf.constant(0)) == {}


class TestInParts:
    """Six images in parts of two."""

    @pytest.fixture(autouse=True)
    def six(self, monkeypatch, path):
        path.unlink()
        monkeypatch.setattr(proposals_file, "_PART_IMAGES", 2)
        self.records = [record(name) for name in "abcdef"]
        self.asked = []

    def propose(self, records, stop_at=""):
        for one in records:
            if one.image_id == stop_at:
                raise KeyboardInterrupt
            self.asked.append(one.image_id)
            number = ord(one.image_id) - ord("a")
            yield one.image_id, np.full((number, 4), [0, 0, 9, 9]), np.full(number, 0.5)

    def test_a_stopped_file_goes_on_where_it_was(self, path):
        def stopped(records):
            return self.propose(records, stop_at="d")

        with pytest.raises(KeyboardInterrupt):
            proposals_file.write_in_parts(path, self.records, stopped, "a")
        assert not path.exists()
        with pytest.raises(
            ValueError, match="found.parts holds parts of a file that was begun with other"
        ):
            proposals_file.write_in_parts(path, self.records, self.propose, "b")
        proposals_file.write_in_parts(path, self.records, self.propose, "a")
        assert "".join(self.asked) == "abc" + "cdef"
        found = proposals_file.read(path)
        assert list(found.image_ids) == list("abcdef")
        assert np.diff(found.splits).tolist() == [0, 1, 2, 3, 4, 5]
        assert [p.name for p in path.parent.iterdir()] == ["found.npz"]

    def test_in_one_go_it_is_what_write_writes(self, path):
        proposals_file.write_in_parts(path, self.records, self.propose, "a")
        whole = proposals_file.read(path)
        proposals_file.write(path, self.propose(self.records))
        for name in ("image_ids", "splits", "boxes", "scores"):
            np.testing.assert_array_equal(
                getattr(whole, name), getattr(proposals_file.read(path), name)
            )


class TestJson:
    """COCO's results form."""

    @pytest.fixture
    def refusal(self, tmp_path):
        path = tmp_path / "found.json"

        def refuse(content):
            path.write_text(content if isinstance(content, str) else json.dumps(content))
            with pytest.raises(ValueError) as caught:
                proposals_file.read(path)
            message = str(caught.value)
            assert message.startswith(str(path))
            return message.removeprefix(str(path))

        return refuse

    def test_what_is_written_is_read_to_the_bit(self, tmp_path):
        rng = np.random.default_rng(0)
        corners = np.sort(rng.uniform(0, 700, (50, 2, 2)).astype(np.float32), axis=1)
        boxes, scores = corners.reshape(50, 4), -np.sort(rng.normal(size=50)).astype(np.float32)
        rows = [(7, boxes[:20], scores[:20]), (3, boxes[20:], scores[20:])]
        found = []
        for name in ("a.json", "a.npz"):
            proposals_file.write(tmp_path / name, rows)
            found.append(proposals_file.read(tmp_path / name))
        assert found[0].image_ids == found[1].image_ids == [7, 3]
        for column in ("splits", "boxes", "scores"):
            one, other = (getattr(some, column) for some in found)
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        assert {path.name for path in tmp_path.iterdir()} == {"a.json", "a.npz"}

    def test_the_form_is_cocos(self, tmp_path):
        path = tmp_path / "found.json"
        proposals_file.write(path, FOUND)
        entries = json.loads(path.read_text())
        first = {"image_id": "a", "category_id": 1, "bbox": [2, 1, 38, 29], "score": 0.9}
        assert entries[0] == {**first, "score": float(np.float32(0.9))}
        assert [entry["image_id"] for entry in entries] == list("aaccc")
        proposals_file.write(path, [("a", np.zeros((0, 4)), [])])
        assert json.loads(path.read_text()) == []

    def test_entries_of_other_tools_stand_in_any_order(self, tmp_path):
        path = tmp_path / "found.json"
        rows = [("b", [0, 0, 1, 1], 0.5), ("a", [3, 4, 10, 20], 1), ("b", [1, 2, 3, 4], 0.75)]
        entries = [dict(zip(("image_id", "bbox", "score"), row, strict=True)) for row in rows]
        path.write_text(json.dumps([{**entry, "more": None} for entry in entries]))
        found = proposals_file.read_for(path, [record("a"), record("b")], 5)
        np.testing.assert_array_equal(found.splits, [0, 1, 3])
        np.testing.assert_array_equal(found.boxes, [[4, 3, 24, 13], [2, 1, 6, 4], [0, 0, 1, 1]])
        np.testing.assert_array_equal(found.scores, np.float32([1, 0.75, 0.5]))

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"image_id": None}, "image_id must be a string or an integer. Received: None"),
            ({"image_id": True}, "image_id must be a string or an integer. Received: True"),
            ({"bbox": [1, 2, 3]}, "bbox must be four finite numbers"),
            ({"bbox": [1, 2, 3, "4"]}, "bbox must be four finite numbers"),
            ({"bbox": [1, 2, 3, float("nan")]}, "bbox must be four finite numbers"),
            ({"bbox": [1, 2, 3, 1e300]}, "bbox must be four finite numbers"),
            ({"score": float("inf")}, "score must be a finite number. Received: inf"),
            ({"score": True}, "score must be a finite number. Received: True"),
        ],
    )
    def test_a_wrong_entry_is_named(self, refusal, changes, words):
        sound = {"image_id": "a", "bbox": [1, 2, 3, 4], "score": 1}
        assert refusal([sound, {**sound, **changes}]).startswith(f", entry 1: {words}")

    def test_what_is_no_such_file_is_named(self, refusal, monkeypatch):
        assert "is not a proposals file" in refusal("[{")
        assert "is not a proposals file" in refusal("[" * 100000)
        assert "must hold a list of proposals" in refusal({"a": 1})
        assert ", entry 0: must be an object with image_id, bbox, score" in refusal([[1]])
        sound = {"image_id": "a", "bbox": [1, 2, -3, 4], "score": 1}
        assert "image 'a' has a box that is not finite or ends before" in refusal([sound])
        both = [{**sound, "bbox": [1, 2, 3, 4], "image_id": image_id} for image_id in ("a", 1)]
        assert "image ids must be all strings or all numbers" in refusal(both)
        monkeypatch.setattr(proposals_json, "MAX_BYTES", 10)
        assert "more than 10 bytes are refused" in refusal(both)

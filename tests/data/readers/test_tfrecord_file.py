"""TFRecord files: found by split, whole or named, each record where TensorFlow reads it."""

import random
import struct

import pytest
import tensorflow as tf

from keras_frcnn.data.readers import tfrecord_file
from tests.data import handmade

PAYLOADS = (b"first", b"", b"x" * 1000)


@pytest.fixture
def path(tmp_path):
    handmade.write(tmp_path / "train.tfrecord", *PAYLOADS)
    return tmp_path / "train.tfrecord"


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def located(folder, split):
    found = tfrecord_file.locate(str(folder), split)
    return [path.relative_to(folder).as_posix() for path in found]


def refusal(folder, split):
    with pytest.raises(ValueError) as caught:
        tfrecord_file.locate(str(folder), split)
    return str(caught.value)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", ["train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord"]),
        ("coco_val", ["coco_val.record-00000-of-00001"]),
        ("pascal", ["pascal.record"]),
        ("deep/test", ["deep/test.tfrecords"]),
        ("train-*", ["train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord"]),
        ("*/*.tfrecords", ["deep/test.tfrecords"]),
        ("train-00001*", ["train-00001-of-00002.tfrecord"]),
        ("odd", ["odd-00000-of-00001"]),
    ],
)
def test_a_split_is_a_prefix_or_a_pattern(tmp_path, split, expected):
    touch(tmp_path, "train-00001-of-00002.tfrecord", "train-00000-of-00002.tfrecord", "train.txt")
    touch(tmp_path, "training.tfrecord", "coco_val.record-00000-of-00001", "pascal.record")
    touch(tmp_path, "deep/test.tfrecords", "odd-00000-of-00001", "label_map.pbtxt")
    assert located(tmp_path, split) == expected


def test_a_missing_split_names_those_that_there_are(tmp_path):
    touch(tmp_path, "b-00000-of-00001.tfrecord", "a.record", "notes.txt")
    words = refusal(tmp_path, "c")
    assert "splits a, b, or a pattern" in words and "train-*.tfrecord'. Received: 'c'" in words
    assert "existing folder" in refusal(tmp_path / "none", "c")
    assert "--data_dir is missing" in refusal("", "c")


def test_a_split_must_be_whole_unless_a_pattern_asks_for_less(tmp_path):
    touch(tmp_path, "a-00000-of-00003.tfrecord", "a-00002-of-00003.tfrecord")
    assert "all files of 'a', 3 by their names" in refusal(tmp_path, "a")
    assert len(located(tmp_path, "a-*")) == 2
    touch(tmp_path, "a-00001-of-00003.tfrecord")
    assert len(located(tmp_path, "a")) == 3
    touch(tmp_path, "a-00000-of-00002.tfrecord")
    assert "Received: 4 files" in refusal(tmp_path, "a")


@pytest.mark.parametrize("split", ["../train", "deep/../../train", "/etc/passwd", "/etc/*"])
def test_a_split_leads_nowhere_else(tmp_path, split):
    touch(tmp_path, "train.tfrecord", "data/other.tfrecord")
    assert "below --data_dir" in refusal(tmp_path / "data", split)


def test_records_are_where_tensorflow_reads_them(path):
    places, problem = tfrecord_file.index("train", path)
    assert problem is None
    assert [(p.number, p.length) for p in places] == [(1, 5), (2, 0), (3, 1000)]
    assert [tfrecord_file.read(p) for p in places] == list(PAYLOADS)
    content = path.read_bytes()
    assert [content[p.offset : p.offset + p.length] for p in places] == list(PAYLOADS)
    assert places[1].words == "record 2"


def test_a_cut_is_found_wherever_it_is(path):
    content = path.read_bytes()
    ends = [0]
    for payload in PAYLOADS:
        ends.append(ends[-1] + len(payload) + 16)
    assert ends[-1] == len(content)
    for length in (*range(60), len(content) - 1, len(content) - 5, len(content) - 1000):
        path.write_bytes(content[:length])
        places, problem = tfrecord_file.index("train", path)
        whole = sum(end <= length for end in ends[1:])
        assert len(places) == whole
        assert (problem is None) == (length in ends)
        if problem is not None:
            assert str(problem) == f"{path}: record {whole + 1}: the file is cut off"
            assert (problem.kind, problem.file) == ("left_out", str(path))


def test_a_flipped_bit_is_found_by_record(path):
    content = path.read_bytes()
    for place in random.sample(range(len(content)), 60):
        damaged = bytearray(content)
        damaged[place] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        places, problem = tfrecord_file.index("train", path)
        faults = [str(problem)] if problem else []
        for record in places:
            try:
                assert tfrecord_file.read(record) == PAYLOADS[record.number - 1]
            except ValueError as error:
                faults.append(str(error))
        assert len(faults) == 1 and ("checksum" in faults[0])


def test_what_is_no_tfrecord_file_is_named(tmp_path):
    path = tmp_path / "a.tfrecord"
    for content, words in (
        (b"\x1f\x8b" + bytes(50), "compressed by gzip"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "no TFRecord file"),
        (b"text", "cut off"),
    ):
        path.write_bytes(content)
        places, problem = tfrecord_file.index("a", path)
        assert places == [] and words in problem.text and problem.object == "record 1"
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(path), options) as writer:
        writer.write(b"payload")
    assert "compressed by gzip" in tfrecord_file.index("a", path)[1].text


@pytest.mark.parametrize("length", [2**28 + 1, 2**63, 2**64 - 1])
def test_a_hostile_length_is_refused_before_memory_is_spent(tmp_path, length):
    head = struct.pack("<Q", length)
    checksum = struct.pack("<I", tfrecord_file._checksum(head))
    (tmp_path / "a.tfrecord").write_bytes(head + checksum + bytes(100))
    places, problem = tfrecord_file.index("a", tmp_path / "a.tfrecord")
    assert places == [] and f"{length} bytes, more than" in problem.text


def test_a_missing_file_is_named(tmp_path):
    assert "none.tfrecord" in tfrecord_file.index("a", tmp_path / "none.tfrecord")[1].file

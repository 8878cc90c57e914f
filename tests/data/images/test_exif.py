"""The EXIF rule: one table of cases for Python, for a graph, and for whole files."""

import struct

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.data.images import exif, graph_decoder, headers
from tests.data.images import image_forms
from tests.data.images.image_forms import FORMS, exif_of

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about the damaged data

SHORT, LONG, BYTE = 3, 4, 1
MAKE = (0x010F, 2, 4, 0x41424300)  # another entry: the camera's maker
JPEG, XMP = FORMS["jpeg"].content, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6'/>"


def tiff(*entries, order="<", offset=8, magic=42, count=None):
    """Writes EXIF data without the prefix.

    Args:
        *entries: ``(tag, type, count, value)``.
        order: "<" for little-endian numbers, ">" for big-endian ones.
        offset: where the first directory is.
        magic: the number in the header.
        count: the number of entries that the directory claims.
    """
    content = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", magic, offset)
    content += bytes(offset - 8) + struct.pack(
        f"{order}H", len(entries) if count is None else count
    )
    for tag, number_type, number, value in entries:
        size = "HH" if number_type == SHORT else "I"
        values = (value, 0) if number_type == SHORT else (value,)
        content += struct.pack(f"{order}HHI{size}", tag, number_type, number, *values)
    return content + bytes(4)


def turn(value, number_type=SHORT, count=1):
    return 0x0112, number_type, count, value


# Name: (EXIF data without the prefix, orientation).
CASES = {
    **{f"little-endian {n}": (tiff(turn(n)), n) for n in range(1, 9)},
    **{f"big-endian {n}": (tiff(turn(n), order=">"), n) for n in range(1, 9)},
    "a long number": (tiff(turn(6, LONG)), 6),
    "a long number, big-endian": (tiff(turn(6, LONG), order=">"), 6),
    "behind other entries": (tiff(MAKE, turn(8)), 8),
    "the first of two": (tiff(turn(3), turn(6)), 3),
    "the first of two, invalid": (tiff(turn(9), turn(6)), 1),
    "a directory further behind": (tiff(turn(6), offset=40), 6),
    "the prefix twice": (exif.PREFIX + tiff(turn(6)), 6),
    "more entries claimed than there are": (tiff(turn(6), count=500), 6),
    "magic number with swapped bytes": (tiff(turn(6), magic=42 << 8), 6),
    "zero": (tiff(turn(0)), 1),
    "nine": (tiff(turn(9)), 1),
    "a large number": (tiff(turn(6 + (1 << 16), LONG)), 1),
    "a byte": (tiff(turn(6, BYTE)), 1),
    "two numbers": (tiff(turn(6, count=2)), 1),
    "no number": (tiff(turn(6, count=0)), 1),
    "other entries only": (tiff(MAKE), 1),
    "no entry": (tiff(), 1),
    "an entry that is not counted": (tiff(turn(6), count=0), 1),
    "another byte order": (b"IM" + tiff(turn(6))[2:], 1),
    "another magic number": (tiff(turn(6), magic=43), 1),
    "a directory behind the end": (tiff(turn(6))[:4] + struct.pack("<I", 900), 1),
    "cut off in the entry": (tiff(turn(6))[:16], 1),
    "cut off in the header": (tiff(turn(6))[:5], 1),
    "nothing": (b"", 1),
}


@pytest.fixture(scope="module")
def in_graph():
    """The reader of served models, from a file's bytes."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def read(content):
        return graph_decoder.orientation(tf.io.decode_raw(content, tf.uint8))

    return lambda content: int(read(content))


@pytest.fixture
def in_python(tmp_path):
    """The reader of files, from a file's bytes."""

    def read(content):
        (tmp_path / "a").write_bytes(content)
        height, width, orientation = headers.image_header(tmp_path / "a")
        assert (height, width) == ((36, 24) if orientation >= 5 else (24, 36))
        return orientation

    return read


def jpeg(content):
    return image_forms.with_segment(JPEG, 0xE1, exif.PREFIX + content)


def png(content):
    return image_forms.png(image_forms.pixels(3), 8, 2, chunks=[(b"eXIf", content)])


@pytest.mark.parametrize("name", CASES)
def test_every_reader_follows_the_rule(in_graph, in_python, name):
    content, expected = CASES[name]
    assert exif.orientation(content) == exif.orientation(exif.PREFIX + content) == expected
    for file in (jpeg(content), png(content)):
        assert in_graph(file) == in_python(file) == expected


def late_png(content):
    return image_forms.png(image_forms.pixels(3), 8, 2, late=[(b"eXIf", content)])


FILES = {
    "jpeg, XMP alone": (image_forms.with_segment(JPEG, 0xE1, XMP), 1),
    "jpeg, EXIF behind XMP": (image_forms.with_segment(jpeg(tiff(turn(6))), 0xE1, XMP), 6),
    "jpeg, in another segment": (image_forms.with_segment(JPEG, 0xE2, exif_of(6)), 1),
    "jpeg, behind the image": (JPEG + jpeg(tiff(turn(6)))[2:], 1),
    "jpeg without metadata": (JPEG, 1),
    "png, behind the pixels": (late_png(tiff(turn(6))), 1),
    "png without metadata": (image_forms.png(image_forms.pixels(3), 8, 2), 1),
}


@pytest.mark.parametrize("name", FILES)
def test_where_the_data_must_be(in_graph, in_python, name):
    content, expected = FILES[name]
    assert in_graph(content) == in_python(content) == expected


def test_the_turns_are_those_of_the_standard():
    """Which corner of the stored pixels is the upper left one, and the rest, by EXIF's table."""
    stored = np.arange(6).reshape(2, 3)
    shown = {
        1: [[0, 1, 2], [3, 4, 5]],
        2: [[2, 1, 0], [5, 4, 3]],
        3: [[5, 4, 3], [2, 1, 0]],
        4: [[3, 4, 5], [0, 1, 2]],
        5: [[0, 3], [1, 4], [2, 5]],
        6: [[3, 0], [4, 1], [5, 2]],
        7: [[5, 2], [4, 1], [3, 0]],
        8: [[2, 5], [1, 4], [0, 3]],
    }
    for orientation, expected in shown.items():
        swapped, mirrored, upside_down = exif.TURNS[orientation - 1]
        image = stored.T if swapped else stored
        image = image[:, ::-1] if mirrored else image
        image = image[::-1] if upside_down else image
        np.testing.assert_array_equal(image, expected)

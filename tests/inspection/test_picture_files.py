import zlib

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.inspection import picture_files
from tests.inspection.conftest import scene


def _save(path, image, **kwargs):
    Image.fromarray(image).save(path, **kwargs)
    return path


def _bits(one, other):
    pair = (np.frombuffer(file.look, np.uint64) for file in (one, other))
    return int(np.bitwise_count(np.bitwise_xor(*pair)).sum())


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png"])
def test_a_whole_picture_has_no_problem(tmp_path, suffix):
    file = picture_files.read(_save(tmp_path / f"a{suffix}", scene(0)))
    assert (file.height, file.width, file.orientation) == (40, 60, 1)
    assert file.problem is None and len(file.digest) == 64 and len(file.look) == 16


def test_size_and_orientation_are_those_of_the_picture_as_displayed(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    file = picture_files.read(_save(tmp_path / "a.jpg", scene(0), exif=exif))
    assert (file.height, file.width, file.orientation) == (60, 40, 6)


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", "unreadable_picture", "empty"),
        (b"hello", "unreadable_picture", "found something else"),
        (b"\xff\xd8\xff\xe0", "broken_picture", ""),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 40, "broken_picture", ""),
    ],
)
def test_files_that_are_no_pictures(tmp_path, content, kind, words):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    found = picture_files.read(path).problem
    assert found[0] == kind and words in found[1] and str(tmp_path) not in found[1][:5]


def test_other_formats_are_refused(tmp_path):
    problem = picture_files.read(_save(tmp_path / "a.jpg", scene(0), format="GIF")).problem
    assert problem == ("unreadable_picture", "expected JPEG or PNG, found GIF")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_cut_files_are_broken(tmp_path, suffix, share):
    path = _save(tmp_path / f"a{suffix}", scene(0, 200, 300))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert picture_files.read(path).problem[0] == "broken_picture"


def test_a_wrong_checksum_in_a_png_is_found(tmp_path):
    path = _save(tmp_path / "a.png", scene(0))
    content = bytearray(path.read_bytes())
    end_of_pixels = content.index(b"IEND") - 4
    content[end_of_pixels - 1] ^= 1  # the last byte of the checksum
    path.write_bytes(content)
    file = picture_files.read(path)
    assert file.problem[0] == "broken_picture" and file.height == 40 and not file.look


def test_a_picture_that_claims_too_many_pixels_is_not_decoded(tmp_path):
    path = _save(tmp_path / "a.png", scene(0))
    content = bytearray(path.read_bytes())
    content[16:24] = (9001).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    problem = picture_files.read(path).problem
    assert problem[0] == "broken_picture" and "9001 x 9001 pixels" in problem[1]


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "a.jpg"
    with open(path, "wb") as file:
        file.truncate(2**29)  # takes no room on the disk
    assert picture_files.read(path).problem == (
        "unreadable_picture",
        f"the file has {2**29} bytes, more than 256000000 are refused",
    )


def test_the_name_should_fit_the_content(tmp_path):
    file = picture_files.read(_save(tmp_path / "a.jpg", scene(0), format="PNG"))
    assert file.problem == ("wrong_extension", "the content is that of a .png file")
    assert file.suffix == ".png" and file.look


def test_what_looks_alike_has_a_near_hash(tmp_path):
    first = picture_files.read(_save(tmp_path / "a.png", scene(0, 200, 300)))
    saved = picture_files.read(_save(tmp_path / "b.jpg", scene(0, 200, 300), quality=50))
    small = Image.fromarray(scene(0, 200, 300)).resize((150, 100))
    small = picture_files.read(_save(tmp_path / "c.png", np.asarray(small)))
    other = picture_files.read(_save(tmp_path / "d.png", scene(1, 200, 300)))
    assert len({first.digest, saved.digest, small.digest, other.digest}) == 4
    assert _bits(first, saved) <= 3 and _bits(first, small) <= 3 and _bits(first, other) > 30


def test_a_hash_says_where_a_picture_gets_brighter(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (90, 1))
    right = picture_files.read(_save(tmp_path / "a.png", ramp)).look
    down = picture_files.read(_save(tmp_path / "b.png", ramp.T)).look
    assert right == b"\xff" * 8 + b"\x00" * 8 and down == b"\x00" * 8 + b"\xff" * 8


def test_sixteen_bits_are_compared_as_eight(tmp_path):
    image = scene(0)[..., 1]
    deep = picture_files.read(_save(tmp_path / "a.png", image.astype(np.uint16) * 257))
    flat = picture_files.read(_save(tmp_path / "b.png", image))
    assert deep.look == flat.look != picture_files.UNKNOWN_HASH


def test_a_plain_picture_has_no_hash(tmp_path):
    image = np.full((40, 60, 3), 200, np.uint8)
    image[:5] += 1
    file = picture_files.read(_save(tmp_path / "a.png", image))
    assert file.look == picture_files.UNKNOWN_HASH and file.problem is None


def test_nearest_equals_counting_bits_one_by_one(monkeypatch):
    monkeypatch.setattr(picture_files, "_CHUNK_BYTES", 1000)
    rng = np.random.default_rng(0)
    looks, others = (rng.integers(0, 2**63, (n, 2), dtype=np.uint64) for n in (50, 40))
    looks[7] = others[33] ^ np.array([5, 0], np.uint64)
    distances = [
        [sum(bin(int(a ^ b)).count("1") for a, b in zip(x, y, strict=True)) for y in others]
        for x in looks
    ]
    index, distance = picture_files.nearest(looks, others)
    assert index.tolist() == np.argmin(distances, axis=1).tolist()
    assert distance.tolist() == np.min(distances, axis=1).tolist()
    assert (index[7], distance[7]) == (33, 2)

import zlib

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.data.images import integrity
from tests.inspection.conftest import scene


def _save(path, image, **kwargs):
    Image.fromarray(image).save(path, **kwargs)
    return path


def _bits(one, other):
    pair = (np.frombuffer(file.difference_hash, np.uint64) for file in (one, other))
    return int(np.bitwise_count(np.bitwise_xor(*pair)).sum())


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png"])
def test_a_whole_image_has_no_problem(tmp_path, suffix):
    file = integrity.read(_save(tmp_path / f"a{suffix}", scene(0)))
    assert (file.height, file.width, file.orientation) == (40, 60, 1)
    assert file.problem is None and len(file.digest) == 64 and len(file.difference_hash) == 16


def test_size_and_orientation_are_those_of_the_image_as_displayed(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    file = integrity.read(_save(tmp_path / "a.jpg", scene(0), exif=exif))
    assert (file.height, file.width, file.orientation) == (60, 40, 6)


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", "unreadable_image", "empty"),
        (b"hello", "unreadable_image", "found something else"),
        (b"\xff\xd8\xff\xe0", "broken_image", ""),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 40, "broken_image", ""),
    ],
)
def test_files_that_are_no_images(tmp_path, content, kind, words):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    found = integrity.read(path).problem
    assert found[0] == kind and words in found[1] and str(tmp_path) not in found[1][:5]


def test_other_formats_are_refused(tmp_path):
    problem = integrity.read(_save(tmp_path / "a.jpg", scene(0), format="GIF")).problem
    assert problem == ("unreadable_image", "expected JPEG or PNG, found GIF")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_cut_files_are_broken(tmp_path, suffix, share):
    path = _save(tmp_path / f"a{suffix}", scene(0, 200, 300))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert integrity.read(path).problem[0] == "broken_image"


def test_a_wrong_checksum_in_a_png_is_found(tmp_path):
    path = _save(tmp_path / "a.png", scene(0))
    content = bytearray(path.read_bytes())
    end_of_pixels = content.index(b"IEND") - 4
    content[end_of_pixels - 1] ^= 1  # the last byte of the checksum
    path.write_bytes(content)
    file = integrity.read(path)
    assert file.problem[0] == "broken_image" and file.height == 40 and not file.difference_hash


def test_an_image_that_claims_too_many_pixels_is_not_decoded(tmp_path):
    path = _save(tmp_path / "a.png", scene(0))
    content = bytearray(path.read_bytes())
    content[16:24] = (9001).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    problem = integrity.read(path).problem
    assert problem[0] == "broken_image" and "9001 x 9001 pixels" in problem[1]


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "a.jpg"
    with open(path, "wb") as file:
        file.truncate(2**29)  # takes no room on the disk
    assert integrity.read(path).problem == (
        "unreadable_image",
        f"the file has {2**29} bytes, more than 256000000 are refused",
    )


def test_the_name_should_fit_the_content(tmp_path):
    file = integrity.read(_save(tmp_path / "a.jpg", scene(0), format="PNG"))
    assert file.problem == ("wrong_extension", "the content is that of a .png file")
    assert file.suffix == ".png" and file.difference_hash


def test_what_looks_alike_has_a_near_hash(tmp_path):
    first = integrity.read(_save(tmp_path / "a.png", scene(0, 200, 300)))
    saved = integrity.read(_save(tmp_path / "b.jpg", scene(0, 200, 300), quality=50))
    small = Image.fromarray(scene(0, 200, 300)).resize((150, 100))
    small = integrity.read(_save(tmp_path / "c.png", np.asarray(small)))
    other = integrity.read(_save(tmp_path / "d.png", scene(1, 200, 300)))
    assert len({first.digest, saved.digest, small.digest, other.digest}) == 4
    assert _bits(first, saved) <= 3 and _bits(first, small) <= 3 and _bits(first, other) > 30


def test_a_hash_says_where_an_image_gets_brighter(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (90, 1))
    right = integrity.read(_save(tmp_path / "a.png", ramp)).difference_hash
    down = integrity.read(_save(tmp_path / "b.png", ramp.T)).difference_hash
    assert right == b"\xff" * 8 + b"\x00" * 8 and down == b"\x00" * 8 + b"\xff" * 8


def test_sixteen_bits_are_compared_as_eight(tmp_path):
    image = scene(0)[..., 1]
    deep = integrity.read(_save(tmp_path / "a.png", image.astype(np.uint16) * 257))
    flat = integrity.read(_save(tmp_path / "b.png", image))
    assert deep.difference_hash == flat.difference_hash != integrity.UNKNOWN_HASH


def test_a_plain_image_has_no_hash(tmp_path):
    image = np.full((40, 60, 3), 200, np.uint8)
    image[:5] += 1
    file = integrity.read(_save(tmp_path / "a.png", image))
    assert file.difference_hash == integrity.UNKNOWN_HASH and file.problem is None


def test_nearest_equals_counting_bits_one_by_one(monkeypatch):
    monkeypatch.setattr(integrity, "_CHUNK_BYTES", 1000)
    rng = np.random.default_rng(0)
    hashes, others = (rng.integers(0, 2**63, (n, 2), dtype=np.uint64) for n in (50, 40))
    hashes[7] = others[33] ^ np.array([5, 0], np.uint64)
    distances = [
        [sum(bin(int(a ^ b)).count("1") for a, b in zip(x, y, strict=True)) for y in others]
        for x in hashes
    ]
    index, distance = integrity.nearest(hashes, others)
    assert index.tolist() == np.argmin(distances, axis=1).tolist()
    assert distance.tolist() == np.min(distances, axis=1).tolist()
    assert (index[7], distance[7]) == (33, 2)

"""The page of a check: it is complete in itself and shows the faulty boxes where they lie."""

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.drawing.canvas import Canvas
from keras_frcnn.inspection.check_data import page
from tests.inspection import markup
from tests.inspection.conftest import scene


@pytest.fixture(autouse=True)
def no_sample(monkeypatch):
    """Leaves the random sample out, so that a page shows only what was found."""
    monkeypatch.setattr(page, "_SAMPLED", 0)


def _write(report, tmp_path):
    """Writes the page and returns its text and its root."""
    path = tmp_path / "check.html"
    page.write(report, path)
    return path.read_text(encoding="utf-8"), markup.parse(path)


def _tags(root):
    return {element.tag for element in root.iter()}


def _is_red(image):
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return (red > 180) & (green < 110) & (blue < 120)


def test_the_page_is_complete_in_itself(folder, check, tmp_path):
    objects = [("cat", 5, 5, 5, 9), ("cat", 1, 1, 9, 9)]
    folder.add("a", objects, image=scene(0)).add("b", [], image=scene(1))
    text, root = _write(check(), tmp_path)
    assert len(list(root.iter("script"))) == 1
    assert _tags(root) & {"link", "iframe", "object", "embed", "base", "form"} == set()
    assert (
        "url(" not in text
        and "@import" not in text
        and "http:" not in text
        and "https:" not in text
    )
    assert len(markup.images(root)) == 2
    links = [link.get("href") for link in root.iter("a")]
    anchors = [link for link in links if link.startswith("#")]
    assert [link for link in links if link not in anchors] == [
        "own/JPEGImages/a.jpg",
        "own/JPEGImages/b.jpg",
    ]
    assert anchors == ["#degenerate_box", "#empty_image"]  # problems before notes
    ids = {element.get("id") for element in root.iter()} - {None}
    assert {anchor.removeprefix("#") for anchor in anchors} == ids
    assert "1 problem, 1 worth a look in 2 images." in text
    assert "prefers-color-scheme: dark" in text


def test_names_are_never_markup(folder, check, tmp_path):
    name = "<script>alert(1)</script>"
    escaped = name.replace("<", "&lt;").replace(">", "&gt;")
    folder.add("a", [("cat", 1, 1, 2, 2)], image=scene(0))
    folder.add("b<i>", [(escaped, 5, 5, 9, 9)], image=scene(1), split="val")
    text, root = _write(check(), tmp_path)
    (script,) = root.iter("script")
    assert "alert" not in script.text and "i" not in _tags(root)
    assert escaped in text and "b&lt;i&gt;.xml" in text


def test_a_sample_shows_sound_images_with_their_classes(folder, check, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_SAMPLED", 5)
    tags = []
    monkeypatch.setattr(Canvas, "tag", lambda self, box, text, color: tags.append((box, text)))
    for number in range(9):
        boxes = [("cat", 2, 3, 20, 30), ("dog", 5, 5, 9, 9), ("cat", 1, 1, 4, 4)]
        folder.add(f"p{number} #", boxes[: number % 4], image=scene(number, 60, 80))
    shown = []
    for seed in (0, 0, 1):
        _, root = _write(check(seed=seed), tmp_path)
        captions = list(map(markup.text, root.iter("figcaption")))[-5:]
        images = [caption[:4] for caption in captions]
        assert images == sorted(set(images)) and len(images) == 5
        shown.append(captions)
    assert shown[0] == shown[1] != shown[2]
    whole = [caption for captions in shown for caption in captions if caption[1] in "37"]
    assert whole and all(caption[4:] == " 2 cat, 1 dog" for caption in whole)
    assert {(tuple(box), text) for box, text in tags} == {
        ((2, 1, 30, 20), "cat"),
        ((4, 4, 9, 9), "dog"),
        ((0, 0, 4, 4), "cat"),
    }
    links = [link.get("href") for link in root.iter("a") if "JPEG" in link.get("href")]
    assert links and all(link.startswith("own/JPEGImages/p") for link in links)
    assert all(link.endswith("%20%23.jpg") for link in links)


def test_a_sample_of_faulty_data_shows_what_training_uses(folder, check, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_SAMPLED", 3)
    folder.add("a", [("cat", 5, 5, 5, 9), ("cat", 1, 1, 9, 9)], image=scene(0))
    folder.add("b", [("cat", 1, 1, 9, 9)], image=scene(1)).image("b").unlink()
    folder.add("c", image=scene(2)).image("c").write_bytes(b"text")
    _, root = _write(check(), tmp_path)
    sample = list(map(markup.text, root.iter("figcaption")))[-1]
    assert sample == "a 1 cat"


def test_boxes_of_any_numbers_are_drawn(folder, check, tmp_path):
    folder.add("a", [("cat", "-1.7e308", 5, "1.7e308", 9), ("cat", *["1.7e308"] * 4)])
    _, root = _write(check(), tmp_path)
    of_no_area, outside = map(_is_red, markup.images(root))
    assert of_no_area[-9:, -9:].any() and not of_no_area[:-9].any()
    assert outside[4:10].any(axis=0).all() and not outside[20:].any()


@pytest.mark.parametrize(
    ("box", "shape"), [((10, 10, 10, 10), (40, 60)), ((31, 11, 80, 30), (40, 75))]
)
def test_faulty_boxes_are_drawn_in_red(folder, check, tmp_path, box, shape):
    folder.add("a", [("cat", *box), ("cat", 3, 3, 20, 20)], image=np.zeros((40, 60, 3), np.uint8))
    _, root = _write(check(), tmp_path)
    (image,) = markup.images(root)
    assert image.shape[:2] == shape  # with room for what lies outside
    rows, columns = (np.flatnonzero(_is_red(image).any(axis)) for axis in (1, 0))
    y, x = np.mean([rows[0], rows[-1]]), np.mean([columns[0], columns[-1]])
    expected = (9.5, 9.5) if box[0] == 10 else (20, 52)
    assert abs(y - expected[0]) <= 1.5 and abs(x - expected[1]) <= 1.5


def test_the_page_draws_with_the_canvas_of_all_images(folder, check, tmp_path, monkeypatch):
    boxes = []
    monkeypatch.setattr(Canvas, "box", lambda self, box, color, thin: boxes.append((box, thin)))
    objects = [("cat", 31, 11, 80, 30), ("cat", 20, 10, 10, 5), ("cat", 3, 3, 20, 20)]
    folder.add("a", objects, image=np.zeros((40, 60, 3), np.uint8))
    _write(check(), tmp_path)
    drawn = {(tuple(np.ravel(box).tolist()), thin) for box, thin in boxes}
    assert drawn == {
        ((10, 30, 30, 80), False),
        ((10, 30, 30, 80), True),  # where the others are at fault
        ((5, 10, 9, 19), False),  # of corners the wrong way round
        ((5, 10, 9, 19), True),
        ((2, 2, 20, 20), True),
    }


def test_a_box_of_a_rotated_image_lies_where_the_annotation_sees_it(folder, check, tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    for stem, size in (("stored", (40, 60)), ("upright", (60, 40))):
        image = np.full((40, 60, 3), size[0], np.uint8)
        Image.fromarray(image).save(folder.image(stem), exif=exif)
        folder.annotate(stem, folder.object_xml("cat", 5, 5, 5, 9), *size)
        folder.line("train", stem)
    _, root = _write(check(), tmp_path)
    shapes = [image.shape[:2] for image in markup.images(root)]
    assert shapes.count((40, 60)) == 3 and shapes.count((60, 40)) == 2  # in three kinds


def test_of_a_cut_image_the_rest_is_shown_and_of_none_only_words(folder, check, tmp_path):
    for stem in ("cut", "gone", "text"):
        folder.add(stem, image=scene(0, 200, 300))
    content = folder.image("cut").read_bytes()
    folder.image("cut").write_bytes(content[: len(content) // 2])
    folder.image("gone").unlink()
    folder.image("text").write_text("text")
    text, root = _write(check(), tmp_path)
    (image,) = markup.images(root)
    assert image.shape == (200, 300, 3) and image[:50].std() > 20
    assert text.count("no image") == 1 and "gone" in text


def test_many_findings_are_cut_short_and_counted(folder, check, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_SHOWN", 2)
    monkeypatch.setattr(page, "_SHOWN_LINES", 3)
    for n in range(5):
        folder.add(f"p{n}", [("cat", 5, 5, 5, 9)], image=scene(n))
    text, root = _write(check(), tmp_path)
    assert len(markup.images(root)) == 2
    assert "... and 3 more images." in text and "... and 2 more, all in the JSON file" in text

"""Images of pages: they link to their files, say why they are missing, and fill a page at most."""

import os
import urllib.parse

import pytest
from PIL import Image

from keras_frcnn.drawing import gallery, page
from tests.inspection import markup

TEMPLATE = "drawing/templates/gallery.html"


def draw():
    return Image.new("RGB", (20, 10))


def no_image():
    raise ValueError("x.jpg: unreadable image")


@pytest.mark.parametrize(
    "name",
    [
        "a.jpg",
        "a b.jpg",
        "a#1.jpg",
        "a?b=c.jpg",
        "a%20b.jpg",
        "c:a.jpg",
        "ü\"'<i>&.jpg",
        b"\xff.jpg",
    ],
)
def test_a_link_leads_from_the_page_to_the_file(tmp_path, name):
    file = os.path.join(os.fsencode(tmp_path / 'data "#?'), os.fsencode(name))
    os.mkdir(os.path.dirname(file))
    with open(file, "wb") as output:
        output.write(b"image")
    folder = tmp_path / "a page"
    folder.mkdir()
    shown = gallery.Gallery(folder / "page.html").show("a", os.fsdecode(file), draw)
    # As a browser reads it: relative to the page, without a scheme, a query or a fragment.
    base = "file://" + urllib.parse.quote(str(folder / "page.html"))
    url = urllib.parse.urlsplit(urllib.parse.urljoin(base, shown.link))
    assert (url.scheme, url.query, url.fragment) == ("file", "", "")
    assert urllib.parse.unquote_to_bytes(url.path) == file
    assert shown.link.startswith("../data%20%22%23%3F/")


def test_the_link_of_a_page_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"image")
    shown = gallery.Gallery("page.html").show("a", "a.jpg", draw)
    assert shown.link == "a.jpg" and shown.source.startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("file", [None, "gone.jpg", "\x00"])
def test_no_file_has_no_link(tmp_path, file):
    assert gallery.Gallery(tmp_path / "page.html").show("a", file, draw).link == ""


def test_an_image_that_cannot_be_drawn_still_has_its_link(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    shown = gallery.Gallery(tmp_path / "page.html").show("a", tmp_path / "a.jpg", no_image)
    assert (shown.source, shown.reason, shown.link) == ("", "no image", "a.jpg")


def test_a_page_that_is_full_says_so(tmp_path, monkeypatch):
    images = gallery.Gallery(tmp_path / "page.html")
    size = len(images.show("a", None, draw).source)
    monkeypatch.setattr(gallery, "MAX_BYTES", 2 * size)
    images = gallery.Gallery(tmp_path / "page.html")
    reasons = [images.show("a", None, draw).reason for _ in range(3)]
    assert reasons == ["", "", "left out: the page is full"]


def test_the_markup_of_a_figure(tmp_path):
    evil = "\"><script>'&"
    sound = gallery.Shown(evil, "data:image/jpeg;base64,AA==", "", "a%22.jpg")
    gone = gallery.Shown("b", "", "no image", "")
    figures = [gallery.Figure([sound, gone], evil)]
    path = tmp_path / "page.html"
    text = str(page.macros(TEMPLATE).images(figures))
    path.write_text(f"<!doctype html><html><head><title>x</title></head><body>{text}</body></html>")
    root = markup.parse(path)
    (button,), (image,) = root.iter("button"), root.iter("img")
    assert button.get("class") == "enlarge" and button.find("img") is image
    assert image.get("alt") == evil and not list(root.iter("script"))
    (link,) = root.iter("a")
    assert link.get("href") == "a%22.jpg" and link.text == evil
    assert markup.text(next(root.iter("figcaption"))) == f"{evil} b {evil}"
    assert markup.text(root.find(".//div[@class='none']")) == "no image"

"""The page of an evaluation: it shows the values of the results and the images of the data."""

import io
import os

import numpy as np
import pytest
from rich.console import Console

from keras_frcnn.drawing import gallery
from keras_frcnn.evaluation.analysis import errors
from keras_frcnn.evaluation.analysis.summary import summarize
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.evaluation.report import console_tables
from keras_frcnn.evaluation.report.error_kinds import COLORS
from keras_frcnn.evaluation.report.formats import percent
from keras_frcnn.evaluation.report.pages import evaluation_page
from tests.evaluation.handmade import found
from tests.inspection import markup

A, B, FAR = (20, 20, 60, 60), (60, 100, 100, 180), (100, 10, 118, 40)
NEAR_A, OVER_A = (20, 20, 60, 36), (24, 20, 60, 60)


@pytest.fixture
def write(tmp_path):
    """Returns a function that evaluates and returns the summary and the root of its page."""

    def run(data, detections, metric="voc", subject="", **settings):
        truth = ground_truth.of_dataset(data, metric)
        settings = {"dataset": data, "num_resamples": 50} | settings
        summary = summarize(truth, to_table(detections, truth), metric, **settings)
        path = tmp_path / evaluation_page.FILE
        evaluation_page.write(summary, path, subject)
        return summary, markup.parse(path)

    return run


@pytest.fixture
def page(images, write):
    """The summary and the root of a page with several kinds of errors."""
    dataset = images(
        ("p1", (A, 0), (B, 1)),
        ("p2", (A, 0), (B, 1)),
        ("p3", (A, 0)),
        ("p4", (B, 1, True)),
        ("p5", (B, 0)),
    )
    detections = {
        "p1": found((A, 0.9), (B, 0.8, 1), (FAR, 0.7)),
        "p2": found((OVER_A, 0.95, 1), (B, 0.85, 1), (B, 0.6, 1)),
        "p3": found((NEAR_A, 0.75), (FAR, 0.05)),
        "p4": found((B, 0.5, 1)),
    }
    return write(dataset, detections, subject="runs/a <b>", settings={"eval_split": ("<i>",)})


def section(root, anchor):
    """Returns the elements from one heading to the next."""
    body = list(root.find("body"))
    start = next(n for n, element in enumerate(body) if element.get("id") == anchor)
    ends = [n for n in range(start + 1, len(body)) if body[n].tag == "h2"]
    return body[start : [*ends, len(body)][0]]


def find(root, anchor, tag):
    return [inner for element in section(root, anchor) for inner in element.iter(tag)]


def test_the_page_is_complete_in_itself(page):
    _, root = page
    assert {e.tag for e in root.iter()} & {"link", "iframe", "object", "embed", "base"} == set()
    policy = root.find("head/meta[@http-equiv]").get("content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert len(markup.images(root)) > 0  # and all of them are inside
    assert "prefers-color-scheme: dark" in root.find("head/style").text
    assert "url(" not in root.find("head/style").text
    anchors = [e.get("id") for e in root.iter("h2")]
    assert anchors == [
        *("errors", "classes", "kinds", "confusions", "curves", "scores", "sizes", "images")
    ]


def test_the_head_tells_what_was_measured(page):
    summary, root = page
    assert markup.text(root.find("body/h1")) == "Evaluation on <i>"
    body = markup.text(root.find("body"))
    assert "runs/a <b>" in body
    assert "5 images; 6 objects of 2 classes; 9 detections; 1 difficult objects ignored" in body
    cards = [markup.text(card) for card in root.findall("body/div[@class='cards']/div")]
    interval = summary.intervals.means["map_area"]
    ends = f"{percent(interval.low, 1)} to {percent(interval.high, 1)}"
    assert cards[0] == f"mAP (area), IoU 0.5{percent(summary.result.map_area, 1)}95%: {ends}"
    assert cards[1].startswith(f"mAP (11-point), IoU 0.5{percent(summary.result.map_11point, 1)}95")
    # From 0.8 on, where F1 is best, A and B of p1 and B of p2 are correct, of six objects.
    assert cards[2:] == ["precision75.0at score 0.8 or higher", "recall50.0at score 0.8 or higher"]


def test_the_class_table_has_the_results(page):
    summary, root = page
    (table,) = find(root, "classes", "table")
    cat, dog = summary.result.classes
    assert markup.rows(table) == [
        [
            "cat",
            percent(cat.ap_area, 1),
            "",
            percent(cat.ap_11point, 1),
            "4",
            "4",
            "1",
            "100.0",
            "25.0",
        ],
        [
            "dog",
            percent(dog.ap_area, 1),
            "",
            percent(dog.ap_11point, 1),
            "2",
            "5",
            "3",
            "66.7",
            "100.0",
        ],
    ]
    bars = [e.get("style") for e in table.iter("span") if e.get("class") == "bar"]
    assert bars == [f"width:{100 * c.ap_area:.1f}%" for c in (cat, dog)]
    for label, line in enumerate(e for e in table.iter("span") if e.get("class") == "whisker"):
        interval = summary.intervals.classes["ap_area"][label]
        ends = f"left:{100 * interval.low:.1f}%;right:{100 - 100 * interval.high:.1f}%"
        assert line.get("style") == ends


def test_the_errors_are_those_of_the_split(page):
    summary, root = page
    (table,) = find(root, "errors", "table")
    gains = {name: f"{100 * gain:+.1f}" for name, gain in summary.gains.items()}
    shown = {row[0].split()[0]: row[1:] for row in markup.rows(table)}
    assert [markup.text(head) for head in table.iter("th")][1:3] == ["score ≥ 0.8", "all"]
    of_all = {"correct": 3, "localisation": 1, "confusion": 1, "both": 0}
    of_all |= {"duplicate": 1, "background": 2, "missed": 1}
    counts = {"correct": 3, "localisation": 0, "confusion": 1, "both": 0}
    counts |= {"duplicate": 0, "background": 0, "missed": 2}
    assert shown == {
        name: [str(n), str(of_all[name]), gains.get(name, "")] for name, n in counts.items()
    }
    (table,) = find(root, "kinds", "table")
    assert markup.rows(table) == [
        ["cat", "", "1", "0", "0", "0", "0", "0", "2"],
        ["dog", "", "2", "0", "1", "0", "0", "0", "0"],
    ]
    widths = [e.get("style") for e in list(table.iter("tr"))[2].iter("span") if e.get("title")]
    assert widths == ["width:66.67%", "width:33.33%"]


def test_the_console_has_the_same_counts(page):
    summary, root = page
    console = Console(file=io.StringIO(), width=200)
    console_tables.print_summary(summary, console)
    lines = [line.replace("│", " ").split() for line in console.file.getvalue().split("\n")]
    printed = {line[0]: line[1:] for line in lines if line}
    (table,) = find(root, "errors", "table")
    for name, *counts in markup.rows(table):
        name = name.split()[0]
        on_console = printed[name][1:3] if name == "missed" else printed[name][:2]
        assert counts[:2] == on_console
    (table,) = find(root, "classes", "table")
    (foot,) = [[markup.text(cell) for cell in row] for row in table.find("tfoot")]
    assert len(foot) == len(table.find("thead/tr")) and foot[0] == "mean"
    for row in [*markup.rows(table), foot]:
        assert row[4:6] == printed[row[0]][:2]  # objects and detections
    assert foot[4:7] == ["6", "9", "4"]
    (table,) = find(root, "confusions", "table")
    sums = [markup.text(cell) for cell in table.find("tfoot")[1]]
    assert sum(map(int, sums[1:-2])) == int(foot[6])  # the kept detections, none of them ignored


def test_confusions_name_the_true_class_first(page):
    _, root = page
    assert "Most often: 1 cat detected as dog." in map(markup.text, section(root, "confusions"))
    (table,) = find(root, "confusions", "table")
    heads = [markup.text(head) for head in table.find("thead/tr")]
    assert heads == ["", "cat", "dog", "background", "sum"]
    assert markup.rows(table) == [["cat", "1", "1", "2", "4"], ["dog", "", "2", "", "2"]]
    foot = [[markup.text(cell) for cell in row] for row in table.find("tfoot")]
    assert foot == [["background", "", "", "", "0"], ["sum", "1", "3", "2", "6"]]


def test_a_class_is_not_taken_for_the_background_or_the_sums(images, write):
    names = ("Background", "sum")
    _, root = write(images(("a", (A, 0), (B, 1)), class_names=names), {"a": found((A, 0.9))})
    (table,) = find(root, "confusions", "table")
    heads = [markup.text(head) for head in table.find("thead/tr")]
    assert heads == ["", *names, "(background)", "(sum)"]
    texts = map(markup.text, section(root, "confusions"))
    assert any('The row "(background)" counts' in text for text in texts)


def test_sizes_are_counted(page):
    _, root = page
    (table,) = find(root, "sizes", "table")
    assert markup.rows(table) == [
        ["small", "0", "", "-", "0", "-"],
        ["medium", "6", "", "50.0", "4", "75.0"],
        ["large", "0", "", "-", "0", "-"],
    ]


def test_curves_lie_where_precision_and_recall_are(images, write):
    dataset = images(("a", (A, 0), (B, 0)), class_names=("cat",))
    _, root = write(dataset, {"a": found((A, 0.9), (FAR, 0.8), (B, 0.7))})
    chart, _, small = find(root, "curves", "svg")
    # Precision 1 up to recall 1/2, then 2/3; the axes end at 40 and 472, 256 and 10.
    points = [point.split(",") for point in chart.find(".//polyline").get("points").split()]
    assert points[0] == ["40.0", "10.0"] and points[50] == ["256.0", "10.0"]
    assert points[51] == ["260.3", "92.0"] and points[100] == ["472.0", "92.0"]
    points = [point.split(",") for point in small.find(".//polyline").get("points").split()]
    assert points[50] == ["50.0", "0.0"] and points[51] == ["51.0", "33.3"]
    mark = small.find(".//circle")  # at the score 0.7: both found, of three
    assert (mark.get("cx"), mark.get("cy")) == ("100.0", "33.3")


def test_precision_is_0_at_recalls_that_are_not_reached(images, write):
    data = images(("a", (A, 0), (B, 0)), class_names=("cat",))
    _, root = write(data, {"a": found((A, 0.9))})
    small = find(root, "curves", "svg")[-1]
    points = small.find(".//polyline").get("points").split()
    assert points[50] == "50.0,0.0" and points[51] == "51.0,100.0" and points[100] == "100.0,100.0"


def test_proposals_are_shown_by_iou_and_number(images, write):
    dataset = images(("a", (A, 0), (B, 1)))
    summary, root = write(dataset, {}, proposal_boxes=[np.array([A, FAR, B], np.float32)])
    by_iou, by_number = find(root, "proposals", "svg")
    assert "Recall of the RPN proposals on 2 objects." in markup.text(section(root, "proposals")[1])
    number = summary.recall.num_proposals.index(1)
    (line,) = [
        g
        for g in by_number.iter()
        if (g.find("title") is not None) and g.find("title").text == "IoU 0.5"
    ]
    points = line.find("polyline").get("points").split()
    assert points[number].endswith(",133.0")  # one of two
    assert points[-1].endswith(",10.0")
    titles = [title.text for title in by_iou.iter("title")]
    assert titles == [f"{n} proposals" for n in summary.recall.num_proposals[-5:]]


def is_like(image, color):
    return (np.abs(image.astype(int) - color) < 40).all(axis=-1)


def test_images_are_drawn_in_the_colors_of_the_kinds(page):
    _, root = page
    groups = {}
    for element in section(root, "images"):
        if element.tag == "h3":
            title = markup.text(element)
        elif element.get("class") == "images":
            groups[title] = element
    assert list(groups) == [
        "Most errors: wrong detections and missed objects",
        "Most objects without any error",
        "Highest-scored errors: confusion",
        "Largest missed objects",
    ]
    captions = [markup.text(c) for c in groups[list(groups)[0]].iter("figcaption")]
    assert captions == ["p3 1 missed", "p5 1 missed", "p2 1 correct, 1 confusion"]
    (right,) = markup.images(groups["Most objects without any error"])
    assert right.shape == (120, 200, 3)
    green = is_like(right, COLORS["correct"])
    assert green[59, 25:55].all() and green[25:55, 20].all() and green[99, 105:175].all()
    assert not green[101:, :].any()  # the background detection scores too low to be used
    (confused,) = markup.images(groups["Highest-scored errors: confusion"])
    assert is_like(confused, COLORS["confusion"])[24, 25:55].all()
    assert (
        markup.text(groups["Highest-scored errors: confusion"])
        == "p2 dog, score 0.95; IoU 0.90 with a cat"
    )
    missed = markup.images(groups["Largest missed objects"])[0]
    share = np.mean(is_like(missed, (255, 255, 255))[60, 105:175])
    assert 0.3 < share < 0.9  # dashed


def test_images_that_are_gone_or_broken_are_said_to_be(images, write):
    dataset = images(("a", (A, 0)), ("b", (A, 0)))
    with open(dataset.records[0].path, "wb") as file:
        file.write(b"no image")
    os.remove(dataset.records[1].path)
    _, root = write(dataset, {})
    assert markup.images(root) == []
    assert markup.text(root.find("body")).count("no image") == 4  # worst, and missed


def test_without_records_the_page_says_so(images, write):
    dataset = images(("a", (A, 0)))
    _, root = write(dataset, {"a": found((A, 0.5))}, dataset=None)
    assert "only the annotations were read" in markup.text(root.find("body"))
    assert list(root.iter("img")) == []


def test_the_page_has_a_largest_size(images, write, monkeypatch):
    dataset = images(*((f"p{n}", (A, 0)) for n in range(8)))
    _, root = write(dataset, {})
    assert len(markup.images(root)) == 14
    monkeypatch.setattr(gallery, "MAX_BYTES", 5000)
    _, root = write(dataset, {})
    sizes = [len(image.get("src")) for image in root.iter("img")]
    assert 0 < len(sizes) < 14 and sum(sizes) < 5000
    full = "left out: the page is full"
    assert markup.text(root.find("body")).count(full) == 14 - len(sizes)


def test_names_are_never_markup(images, write):
    evil = "</script><img src=x onerror=alert(1)>\"'&\ud800\x00"
    dataset = images((evil, (A, 0), (B, 1)), (f"{evil}2", (A, 0)), class_names=(evil, "dog"))
    detections = {evil: found((A, 0.9, 1), (B, 0.8, 1))}
    settings = {evil: evil, "data_dir": [evil], "eval_split": (evil,)}
    _, root = write(dataset, detections, subject=evil, settings=settings)
    assert {e.tag for e in root.iter("script")} == {"script"} and len(
        list(root.iter("script"))
    ) == 1
    assert all(image.get("src").startswith("data:image/jpeg") for image in root.iter("img"))
    assert not any(name.startswith("on") for e in root.iter() for name in e.attrib)
    assert r"</script><img src=x onerror=alert(1)>" in markup.text(root.find("body/h1"))


def test_the_title_names_joined_data_and_only_what_was_measured(images, write):
    settings = {"data_dir": ["/data/VOCdevkit", "/data/coco"], "eval_split": ["VOC2007/test", "-"]}
    _, root = write(images(("a", (A, 0))), {"a": found((A, 0.9))}, settings=settings)
    title = markup.text(root.find("body/h1"))
    assert title == "Evaluation on VOCdevkit, coco VOC2007/test"


@pytest.mark.parametrize("metric", ["voc", "coco"])
@pytest.mark.parametrize("num_classes", [1, 80])
@pytest.mark.parametrize("objects", [(), ((A, 0),), ((A, 0, True),)])
@pytest.mark.parametrize("rows", [(), ((A, 0.5),), ((FAR, 0.5), (A, 0.5))])
def test_whatever_there_is_makes_a_page(metric, num_classes, objects, rows, images, write):
    names = tuple(f"class {n}" for n in range(num_classes))
    dataset = images(("a", *objects), class_names=names)
    detections = {"a": found(*rows)} if rows else {}
    summary, root = write(dataset, detections, metric, num_resamples=5)
    body = markup.text(root.find("body"))
    assert "nan" not in body.lower()
    rows = markup.rows(find(root, "classes", "table")[0])
    assert len(rows) == num_classes
    first = rows[0]
    figure = summary.result.classes[0]
    figure = figure.ap_area if metric == "voc" else figure.figures["AP"]
    assert first[1] == percent(figure, 1)
    assert (first[1] == "-") == (not objects or len(objects[0]) > 2)
    for svg in root.iter("svg"):
        for element in svg.iter():
            assert "nan" not in " ".join(element.attrib.values())


def test_no_images_make_a_page_too(images, write):
    _, root = write(images(), {})
    assert "0 images; 0 objects of 2 classes; 0 detections" in markup.text(root.find("body"))


def test_coco_shows_its_own_figures(images, write):
    dataset = images(("a", (A, 0), (B, 1)), ("b", (A, 0)))
    detections = {"a": found((A, 0.9), (B, 0.8, 1)), "b": found((OVER_A, 0.9), (FAR, 0.1))}
    summary, root = write(dataset, detections, "coco")
    cards = [markup.text(card) for card in root.findall("body/div[@class='cards']/div")]
    assert cards[0].startswith(f"mAP, IoU 0.50 to 0.95{percent(summary.result.figures['AP'], 1)}")
    assert cards[2] == f"AP75{percent(summary.result.figures['AP75'], 1)}"
    (table,) = find(root, "classes", "table")
    names = ("AP", "AP50", "AP75", "AR100")
    assert [[row[1], *row[3:6]] for row in markup.rows(table)] == [
        [percent(c.figures[name], 1) for name in names] for c in summary.result.classes
    ]
    legends = [markup.text(e) for e in find(root, "curves", "div") if e.get("class") == "legend"]
    assert legends[0] == "IoU 0.5:0.95IoU 0.75IoU 0.5"


def test_all_classes_are_in_the_matrix(images, write):
    names = tuple(f"c{n:02d}" for n in range(60))
    objects = [(f"p{n}", (A, n)) for n in range(60)]
    detections = {f"p{n}": found((A, 0.5, (n + 1) % 60)) for n in range(60)}
    detections["p7"] = found((A, 0.5, 30), (A, 0.5, 30))
    _, root = write(images(*objects, class_names=names), detections)
    (table,) = find(root, "confusions", "table")
    rows = markup.rows(table)
    assert [row[0] for row in rows] == list(names)
    assert all(row[-1] == "1" and sum(map(int, filter(None, row[1:-1]))) == 1 for row in rows)
    # One of the two detections of c07 is left without an object.
    foot = [[markup.text(cell) for cell in row] for row in table.find("tfoot")]
    assert foot[0][31] == "1" and foot[0][-2:] == ["", "1"] and foot[1][-2:] == ["0", "61"]
    text = " ".join(map(markup.text, section(root, "confusions")))
    assert "Most often: 1 c00 detected as c01; 1 c01 detected as c02" in text


def test_the_page_is_of_the_split_at_the_best_score(page):
    summary, root = page
    used = errors.split(summary.errors.truth, summary.errors.found, score_threshold=0.8)
    (table,) = find(root, "kinds", "table")
    assert [row[2] for row in markup.rows(table)] == [str(n) for n in used.counts()[:, 0]]

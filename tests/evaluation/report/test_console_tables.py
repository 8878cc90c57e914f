"""The tables that an evaluation prints."""

import io

import numpy as np

from keras_frcnn.console import Console
from keras_frcnn.evaluation.analysis.summary import summarize
from keras_frcnn.evaluation.metrics import coco, ground_truth, voc
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.evaluation.report import console_tables
from tests.evaluation.handmade import dataset, found, record

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
FIGURES += ("AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def class_result(name, num_gt, ap_11point, ap_area, num_difficult=0, num_detections=10):
    return voc.ClassResult(
        name=name,
        num_gt=num_gt,
        num_difficult=num_difficult,
        num_detections=num_detections,
        ap_11point=ap_11point,
        ap_area=ap_area,
        precision=np.zeros(0),
        recall=np.zeros(0),
        scores=np.zeros(0),
    )


def result(*classes):
    return voc.Result(
        classes=classes, iou_threshold=0.5, num_images=7, num_images_without_detections=2
    )


def printed(outcome):
    console = Console(file=io.StringIO(), width=200)
    console_tables.print_table(outcome, console)
    return console.file.getvalue()


def cells(text, first):
    """Returns the words of the row that begins with a text."""
    (row,) = [
        line.replace("│", " ").split()
        for line in text.split("\n")
        if line.strip("│ ").startswith(first)
    ]
    return row


def test_table_shows_classes_then_their_mean():
    cat = class_result("cat", 3, 0.5, 0.25, num_difficult=4)
    text = printed(result(cat, class_result("dog", 5, 0.69932, 1.0)))
    assert cells(text, "cat") == ["cat", "3", "10", "50.00", "25.00"]
    assert cells(text, "dog") == ["dog", "5", "10", "69.93", "100.00"]
    assert cells(text, "mean") == ["mean", "8", "20", "59.97", "62.50"]
    assert "IoU >= 0.5; 7 images; 2 without detections; 4 difficult objects ignored" in text
    assert "classes" not in text.split("IoU")[1]


def test_table_says_which_classes_the_mean_leaves_out():
    text = printed(
        result(class_result("cat", 3, 0.5, 0.25), class_result("dog", 0, np.nan, np.nan))
    )
    assert cells(text, "dog") == ["dog", "0", "10", "-", "-"]
    assert cells(text, "mean")[-2:] == ["50.00", "25.00"]
    assert "mean of 1 of 2 classes: the others have no objects" in text


def test_table_without_any_ground_truth():
    text = printed(result())
    assert cells(text, "mean") == ["mean", "0", "0", "-", "-"]
    assert "; average precision is undefined without objects" in text


def test_class_names_are_not_markup():
    text = printed(
        result(class_result("[/bold]", 1, 1.0, 1.0), class_result("[red]x", 1, 1.0, 1.0))
    )
    assert cells(text, "[/bold]")[0] == "[/bold]"
    assert cells(text, "[red]x")[0] == "[red]x"


def test_table_goes_to_standard_output_by_default(capsys):
    console_tables.print_table(result(class_result("cat", 3, 0.5, 0.25)))
    assert "50.00" in capsys.readouterr().out


# --- COCO ---------------------------------------------------------------------------------------


def coco_result():
    figures = dict.fromkeys(FIGURES, 0.5) | {"AP": 0.25, "AR1": 0.125, "ARl": np.nan}
    nothing = dict.fromkeys(FIGURES, np.nan)
    curve = {"precision": np.zeros((10, 101)), "scores": np.zeros((10, 101))}
    cat = coco.ClassResult(
        name="cat", num_gt=3, num_crowd=2, num_detections=10, figures=figures, **curve
    )
    dog = coco.ClassResult(
        name="[red]x", num_gt=0, num_crowd=1, num_detections=4, figures=nothing, **curve
    )
    return coco.Result(
        classes=(cat, dog), figures=figures, num_images=7, num_images_without_detections=2
    )


def test_coco_table_shows_classes_their_mean_and_all_twelve_figures():
    text = printed(coco_result())
    assert cells(text, "cat") == ["cat", "3", "10", "25.00"] + ["50.00"] * 3
    assert cells(text, "[red]x") == ["[red]x", "0", "4"] + ["-"] * 4
    assert cells(text, "mean") == ["mean", "3", "14", "25.00"] + ["50.00"] * 3
    below = "APs 50.00, APm 50.00, APl 50.00, AR1 12.50, AR10 50.00, ARs 50.00, ARm 50.00, ARl - (%"
    assert below in text
    assert "COCO metric, IoU 0.50 to 0.95; 7 images; 2 without detections; 3 crowd regions" in text
    assert "mean of 1 of 2 classes" in text


# --- a whole evaluation -------------------------------------------------------------------------


def summary(metric="voc", **options):
    """Two equal images: one of two objects is found, the other taken for another class."""
    a, b = [0, 0, 10, 10], [100, 100, 120, 140]
    data = dataset(*(record(i, (a, 0), (b, 0)) for i in range(2)), class_names=("cat", "dog"))
    truth = ground_truth.of_dataset(data, metric)
    rows = {i: found((a, 0.5, 0), (b, 0.75, 1)) for i in range(2)}
    options = {"proposal_boxes": [np.array([a] * 60)] * 2, "num_resamples": 7} | options
    return summarize(truth, to_table(rows, truth), metric, dataset=data, **options)


def printed_summary(width=200, **options):
    console = Console(file=io.StringIO(), width=width)
    console_tables.print_summary(summary(**options), console)
    return console.file.getvalue()


def test_a_summary_shows_intervals_errors_and_recall():
    text = printed_summary()
    assert cells(text, "cat") == ["cat", "4", "2", "54.55", "50.00", "50.0-50.0"]
    assert cells(text, "dog")[-1] == "-"
    assert cells(text, "mean")[-1] == "50.0-50.0"
    assert "95%: bootstrap interval from 7 resamples of the images" in text
    assert cells(text, "correct") == ["correct", "2", "2", "2"]
    assert cells(text, "confusion") == ["confusion", "2", "2", "0", "50.00"]
    assert cells(text, "missed") == ["missed", "objects", "0", "0", "0.00"]
    assert cells(text, "50") == ["50", *["50.00"] * 3, "50.00"]
    assert cells(text, "60")[-1] == "50.00"
    assert "IoU >= 0.5; top: only the n best detections of a class with n objects" in text
    assert "score >= 0.5: the detections from the score on that gives the best F1" in " ".join(
        text.split()
    )


def test_the_table_of_recall_says_whose_the_proposals_are():
    assert "RPN proposals" in printed_summary()
    assert "file proposals" in printed_summary(settings={"test_proposals": "ss.npz"})


def test_a_summary_without_intervals_and_proposals():
    text = printed_summary(num_resamples=0, proposal_boxes=None)
    assert cells(text, "cat") == ["cat", "4", "2", "54.55", "50.00"]
    assert "95%" not in text and "proposals" not in text


def test_a_summary_fits_a_terminal():
    for metric in ("voc", "coco"):
        text = printed_summary(80, metric=metric)
        assert max(map(len, text.split("\n"))) <= 80 and "…" not in text
    assert cells(text, "cat")[-2:] == ["50.50", "50.5-50.5"]
    assert "AR100 50.00" in text

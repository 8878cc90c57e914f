"""The model card: what it says of a detector, and that no name can break its Markdown."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_frcnn.backbones.vgg16 import PRETRAINED
from keras_frcnn.data.images.preprocessing import CAFFE
from keras_frcnn.serving import model_card
from tests import fakes

CONFIG = fakes.SMALL.replace(
    dataset=("voc",),
    data_dir=("/home/someone/VOCdevkit",),
    train_split=("VOC2007/trainval",),
    eval_split=("VOC2007/test",),
)


def model(config=CONFIG, class_names=("cat", "# dog\n\x1b[2J"), origin=None):
    backbone = SimpleNamespace(preprocessing=CAFFE, compute_dtype="float32", pretrained=PRETRAINED)
    values = {"config": config, "class_names": class_names, "step": 70000, "origin": origin}
    return SimpleNamespace(backbone=backbone, **values)


def test_a_card_says_what_a_user_must_know():
    card = model_card.text(model(), Path("/served/voc/3"), {"Metrics": "mAP 0.7"})
    titles = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        *("Classes", "Data", "Metrics", "Preprocessing", "Precision"),
        *("Start weights and their licence", "How to call it"),
    ]
    assert card.startswith("# Faster R-CNN with vgg16, training step 70000\n")
    for words in (
        "    1 cat\n    2 # dog\\n\\x1b[2J\n",
        "    trained on voc VOCdevkit: VOC2007/trainval\n",
        "    evaluated on voc VOCdevkit: VOC2007/test\n",
        "\n\nmAP 0.7\n",
        "shorter side has 64 pixels, but the longer side no more than 96; puts the colours "
        "into the order BGR; subtracts (103.939, 116.779, 123.68); and divides by (1.0, 1.0, 1.0).",
        "compute in float32",
        "    --model_base_path=/served/voc\n",
        "saved_model_cli show --all --dir /served/voc/3\n",
    ):
        assert words in card
    assert "someone" not in card


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone_weights": "none"}, "It started from random weights."),
        ({"backbone_weights": "imagenet"}, "VGG16, trained on ImageNet, by the Visual Geometry"),
        (
            {"start_checkpoint": "/runs/a/best.keras"},
            "from the checkpoint best.keras, whose licence",
        ),
    ],
)
def test_a_card_names_the_start_weights(settings, words):
    assert words in model_card.text(model(CONFIG.replace(**settings)), Path("a/1"), {})


def test_a_composed_detector_has_a_card():
    card = model_card.text(model(None), Path("a/1"), {})
    assert "does not know its data" in card and "composed in Python" in card


def test_a_card_names_the_origin_of_an_imported_detector():
    origin = {"source": "torchvision", "model": "resnet50_fpn", "file": "a.pth", "licence": "BSD-3"}
    card = model_card.text(model(origin=origin), Path("/served/3"), {})
    words = "Its weights come from resnet50_fpn of torchvision (the file a.pth). Licence: BSD-3."
    assert words in card

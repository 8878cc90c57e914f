"""Mistakes that every command reports within a second, because it has not loaded TensorFlow yet."""

import json
import re
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.config.experiment import FORMAT
from keras_frcnn.config.flags import write_flagfile
from keras_frcnn.data.writers import shapes

_DATA = {"data_dir": "{data}", "train_split": "train", "eval_split": "val"}
_RUN = _DATA | {"output_dir": "{out}/run"}
_MODEL = _DATA | {"checkpoint": "{out}/good.keras"}
_NEW = {"output_dir": "{out}/new"}
_FILE = {"output_dir": "{out}/file"}
_FULL = {"output_dir": "{out}/served"}
_IMAGES = {"images": "{data}/JPEGImages"}
_NO_FOLDER = "must be an existing folder. Received: 'no'"
_NO_SPLIT = "'none'"
_NO_FILE = "must be an existing file. Received: 'no"
_NO_CHECKPOINT = r"There is no checkpoint no\.keras"
_NO_IMAGE = "Found no image at: no.jpg"
_NOT_A_FOLDER = "--output_dir must be a folder"
_NOT_EMPTY = "--output_dir must be a new or empty folder"

# Commands, their flags, and what the message says.
MISTAKES = [
    ("train", {"lerning_rate": "1"}, "unknown flag --lerning_rate. Did you mean --learning_rate"),
    ("train", {"flagfile": "nonsense"}, "cannot read the flagfile 'nonsense'.* voc07, "),
    ("train", _RUN | {"data_dir": "no"}, _NO_FOLDER),
    ("train", _RUN | {"data_dir": "no", "dry_run": "true"}, _NO_FOLDER),
    ("train", _RUN | {"data_dir": "{out}/yolo"}, "Annotations/.* looks like --dataset=yolo$"),
    ("train", _RUN | {"dataset": "coco"}, "a .json file. .* looks like --dataset=voc$"),
    ("train", _RUN | {"train_split": "none"}, f"Received: {_NO_SPLIT}$"),
    ("train", _RUN | {"eval_split": "none"}, _NO_SPLIT),
    ("train", _DATA | _FILE, _NOT_A_FOLDER),
    ("train", _RUN | {"start_checkpoint": "no.keras"}, f"--start_checkpoint {_NO_FILE}"),
    ("train", _RUN | {"backbone_weights": "no.h5"}, f"--backbone_weights {_NO_FILE}"),
    ("train", _RUN | {"train_proposals": "no.npz", "test_proposals": "no"}, f"train_.*{_NO_FILE}"),
    ("train", _RUN | {"train_proposals": "dense", "test_proposals": "no"}, f"test_.*{_NO_FILE}"),
    ("train", _RUN | {"precision": "bfloat16"}, "Train with --precision=mixed_bfloat16"),
    ("train", _DATA | {"output_dir": "{out}/done", "seed": "5"}, "--seed was 0, is 5"),
    ("evaluate", {"data_dir": "no"}, "--checkpoint is missing"),
    ("evaluate", {"checkpoint": "no.keras"}, _NO_CHECKPOINT),
    ("evaluate", _MODEL | {"data_dir": "no"}, _NO_FOLDER),
    ("evaluate", _MODEL | {"eval_split": "none"}, _NO_SPLIT),
    ("evaluate", _MODEL | _FILE, _NOT_A_FOLDER),
    ("evaluate", _MODEL | {"test_proposals": "no.npz"}, f"--test_proposals {_NO_FILE}"),
    ("evaluate", {"checkpoint": "{out}"}, "The folder holds good.keras: name one of them"),
    (
        "evaluate",
        _DATA | {"detections": "no.json"},
        "there is no file or folder of results no.json",
    ),
    ("evaluate", {"compare": "no,nowhere"}, "there is no file or folder of results no"),
    ("detect", {"checkpoint": "no.keras"} | _IMAGES | _NEW, _NO_CHECKPOINT),
    ("detect", {"checkpoint": "{out}/good.keras", "images": "no.jpg"} | _NEW, _NO_IMAGE),
    ("detect", {"checkpoint": "{out}/good.keras"} | _IMAGES | _FULL, "must be new, empty"),
    ("export", {"checkpoint": "no.keras"} | _NEW, _NO_CHECKPOINT),
    ("export", {"checkpoint": "{out}/good.keras"} | _FILE, _NOT_A_FOLDER),
    ("export", {"checkpoint": "{out}/good.keras", "version": "1"} | _FULL, "exists already"),
    ("export", {"checkpoint": "{out}/good.keras", "images": "no.jpg"} | _NEW, _NO_IMAGE),
    ("propose", {"checkpoint": "no.keras", "output_file": "{out}/a.npz"}, _NO_CHECKPOINT),
    ("propose", _MODEL | {"output_file": "a.txt"}, "--output_file must be the name of a .npz"),
    ("propose", _MODEL | {"output_file": "{out}/a.npz", "train_split": "none"}, _NO_SPLIT),
    ("visualize", {"checkpoint": "no.keras"} | _NEW, _NO_CHECKPOINT),
    ("visualize", _MODEL | _NEW | {"data_dir": "no"}, _NO_FOLDER),
    ("visualize", _DATA | _NEW | {"image_ids": "none"}, "--image_ids must be among"),
    ("visualize", _DATA | _FILE, _NOT_A_FOLDER),
    ("check-data", {"data_dir": "no"}, _NO_FOLDER),
    ("check-data", {"data_dir": "{out}/yolo"}, "Annotations/.* looks like --dataset=yolo$"),
    ("check-data", _DATA | {"train_split": "none"}, _NO_SPLIT),
    ("check-data", _DATA | _FILE, _NOT_A_FOLDER),
    ("check-data", _DATA | {"fix": "{out}/served"}, "--fix must be a new or empty folder"),
    ("anchor-fit", {"data_dir": "no"}, _NO_FOLDER),
    ("anchor-fit", _DATA | {"train_split": "none"}, _NO_SPLIT),
    ("anchor-fit", _DATA | _FILE, _NOT_A_FOLDER),
    ("make-shapes", _NEW | {"num_train": "-3"}, "--num_train must be an integer of at least 0"),
    ("write-tfrecords", _DATA | _FULL, _NOT_EMPTY),
    ("write-tfrecords", _DATA | _NEW | {"shard_megabytes": "0"}, "--shard_megabytes must be a pos"),
    ("write-tfrecords", {"data_dir": "no"} | _NEW, _NO_FOLDER),
    ("write-yolo", _DATA | _FULL, _NOT_EMPTY),
    ("write-yolo", _DATA | _NEW | {"train_split": "none"}, _NO_SPLIT),
    ("write-yolo", {"data_dir": "no"} | _NEW, _NO_FOLDER),
    ("compact", {"checkpoint": "no.keras", "output_file": "{out}/a.keras"}, _NO_CHECKPOINT),
    ("import-detector", {"weights": "no.pth", "output_file": "a.keras"}, f"--weights {_NO_FILE}"),
    ("import-detector", {"weights": "{out}/good.keras", "output_file": "a.h5"}, "a .keras file"),
    ("describe", {"checkpoint": "no.keras"}, _NO_CHECKPOINT),
    ("paper", {"rows": "none"}, "none"),
]
# Runs command lines in one process that cannot import TensorFlow, and collects their messages.
_PROGRAM = """
import contextlib, io, json, sys
from keras_frcnn.cli.main import main
sys.modules["tensorflow"] = sys.modules["keras"] = None
answers = []
for argv in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(argv)
        except SystemExit as error:
            code = error.code
        except Exception as error:
            code = repr(error)
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


def write_settings(path, config):
    """Writes the part of a checkpoint that is read without TensorFlow."""
    values = {"format": FORMAT, "class_names": ["star"], "config": config.to_dict()}
    content = {"registered_name": "keras_frcnn>FasterRCNN", "config": values}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(content))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The exit code, the output and the message of every command line."""
    out = tmp_path_factory.mktemp("out")
    data = shapes.make(out / "data", 2, 1, 1, shorter_side=(64, 72), longer_side=(80, 96))
    (out / "file").touch()
    for folder in ("served/1", "done", "yolo"):
        (out / folder).mkdir(parents=True)
    (out / "served/1/thesis.txt").touch()
    (out / "yolo/data.yaml").touch()
    Image.new("RGB", (9, 9)).save(out / "served/a.jpg")
    settings = Config(data_dir=(str(data),), train_split=("train",), eval_split=("val",))
    write_settings(out / "good.keras", settings)
    (out / "done/last.keras").touch()
    recorded = settings.replace(precision="mixed_bfloat16", output_dir=str(out / "done"))
    write_flagfile(recorded, out / "done/config.cfg")
    lines = [
        [
            command,
            *(f"--{name}={value}".format(data=data, out=out) for name, value in flags.items()),
        ]
        for command, flags, _ in MISTAKES
    ]
    process = subprocess.run(
        [sys.executable, "-c", _PROGRAM], input=json.dumps(lines), capture_output=True, text=True
    )
    assert not process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=lambda n: f"{n}-{MISTAKES[n][0]}")
def test_a_mistake_is_reported_before_tensorflow_is_loaded(number, answers):
    code, out, err = answers[number]
    assert re.search(MISTAKES[number][2], err)
    assert (code, out) == (2, "")

"""Explains why a detector missed objects or detected something wrong.

Examples:
  keras-frcnn explain --checkpoint=runs/mine/best.keras --output_dir=runs/mine/explained
  keras-frcnn explain --checkpoint=best.keras --image_ids=000012,000035 --output_dir=explained
  keras-frcnn explain --checkpoint=best.keras --score_threshold=0.05 --output_dir=explained

Every object is followed through the stages of the detector: the anchors, the RPN's score and rank,
suppression among proposals, the box head's scores and boxes, and suppression among detections. A
table shows for each class where objects are lost, and what may help. The folder gets index.html
with the images that lost most objects, and explanations.json with everything.

An object is found if a detection of its class, with a score above --score_threshold, matches it by
the rule of PASCAL VOC. Settings that are not given are taken from the checkpoint.
"""

from pathlib import Path
from types import SimpleNamespace

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.cli.output import chosen_rows
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.flags import settings_of
from keras_frcnn.config.setting import FRACTION, Limits, Option
from keras_frcnn.console import COMPILING, Console, say, with_progress

COMMAND = Command(
    "explain",
    __doc__,
    options=(
        Option("checkpoint", str, "", "The .keras file of a run.", required=True),
        Option(
            "output_dir",
            str,
            "",
            "Folder for the page and the JSON file.",
            required=True,
            output="folder",
        ),
        Option(
            "subset",
            str,
            "eval",
            "Whether to explain images of --eval_split or of --train_split.",
            choices=("train", "eval"),
        ),
        Option(
            "image_ids",
            tuple[str, ...],
            (),
            "Ids of the images to explain, which are then all shown. If empty, all images are "
            "explained.",
        ),
        Option(
            "num_images",
            int,
            24,
            "Number of images on the page if --image_ids is empty: those that lost most objects.",
            limits=Limits(at_least=0),
        ),
        Option(
            "score_threshold",
            float,
            0.5,
            "Detections with a lower score do not count: their objects are lost.",
            limits=FRACTION,
        ),
        Option(
            "iou_threshold",
            float,
            0.5,
            "Least IoU of a correct detection.",
            limits=Limits(above=0, at_most=1),
        ),
    ),
    settings=(
        *settings_of("data", "rpn"),
        "nms_iou_threshold",
        "soft_nms_sigma",
        "max_detections",
        "seed",
        "precision",
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND, options.output_dir):
        if config.test_proposals != "rpn" or not config.test_ranked_proposals:
            raise ValueError(
                "explanations follow the proposals that the RPN ranks, so --test_proposals must be "
                "rpn and --test_ranked_proposals must be true. Received: "
                f"--test_proposals={config.test_proposals} "
                f"--test_ranked_proposals={str(config.test_ranked_proposals).lower()}"
            )
        if config.soft_nms_sigma:
            raise ValueError(
                "explanations follow boxes that are suppressed, which Soft-NMS does not do, so "
                f"--soft_nms_sigma must be 0. Received: {config.soft_nms_sigma:g}"
            )
        from keras_frcnn import data
        from keras_frcnn.data.dataset import Dataset
        from keras_frcnn.weights import checkpoint

        _, class_names = checkpoint.read_settings(options.checkpoint)
        if options.subset == "train":
            dataset = data.load_train(config, class_names, strict=False)
        else:
            dataset = data.load(config, config.eval_split, class_names, strict=False)
        if options.image_ids:
            rows = chosen_rows(dataset.records, options.image_ids)
            dataset = Dataset(dataset.class_names, [dataset.records[row] for row in rows])
        load_tensorflow()
        from keras_frcnn.inspection.explain import explanations, report, trace
        from keras_frcnn.models import precision

        model = checkpoint.load(options.checkpoint, precision.for_use(config, say))
        say(COMPILING)
        traces = trace.trace_dataset(model, dataset, config)
        images = explanations.explain_images(model, dataset, traces, options.iou_threshold)
        images = list(with_progress(images, "Explaining", len(dataset.records)))
        folder = Path(options.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            report.write_json(images, class_names, folder / "explanations.json")
        finally:  # printed last, since a pipe may be closed, but also if nothing can be written
            report.print_table(images, class_names, Console())
        shown = images
        if not options.image_ids:
            shown = sorted(images, key=lambda image: -image.num_lost)[: options.num_images]
        report.write_page(images, shown, class_names, folder / "index.html")
        say(f"Explanations of {len(images)} images: {folder / 'index.html'}")
    return 0


def _base(options: SimpleNamespace) -> Config:
    return checkpoint_settings(options).replace(score_threshold=options.score_threshold)

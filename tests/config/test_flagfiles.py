"""The flagfiles of configs/: that they are what they say they are."""

from pathlib import Path

from keras_frcnn.cli.command import Command, parse
from keras_frcnn.config import Config

ROOT = Path(__file__).parents[2]


def config_of(name: str) -> Config:
    config, _ = parse(Command("train", "Trains."), [f"--flagfile={ROOT / 'configs' / name}"])
    return config


def test_voc07_is_the_released_codes_schedule():
    config = config_of("voc07.cfg")
    assert (config.backbone, config.backbone_weights) == ("vgg16", "imagenet")
    assert (config.batch_size, config.steps, config.lr_boundaries) == (2, 70000, (50000,))
    assert (config.learning_rate, config.lr_decay_factor) == (0.001, 0.1)


def test_voc07_alternating_is_the_released_codes_schedule():
    config = config_of("voc07_alternating.cfg")
    assert config.scheme == "alternating"
    assert config.phase_steps == (80000, 40000, 80000, 40000)
    assert config.phase_lr_boundaries == ((60000,), (30000,), (60000,), (30000,))
    assert config.phase_batch_sizes == (1, 2, 1, 2)
    assert config.roi_num_samples * 2 == 128
    # All anchors of 600 x 1000 enter suppression.
    assert config.train_pre_nms_top_k > 38 * 63 * 9


def test_voc_goes_on_from_coco():
    coco, voc, both = map(config_of, ("coco17.cfg", "voc0712.cfg", "coco_then_voc0712.cfg"))
    assert both.start_checkpoint == f"{coco.output_dir}/best.keras"
    for name in ("backbone", "scales", "ratios", "head_units", "pool_size", "pixel_std"):
        assert getattr(both, name) == getattr(coco, name)
    for name in ("train_split", "eval_split", "steps", "lr_boundaries", "learning_rate"):
        assert getattr(both, name) == getattr(voc, name)


def test_own_data_may_go_on_from_voc():
    voc, own = map(config_of, ("voc07.cfg", "finetune.cfg"))
    for name in ("backbone", "head_units", "pool_size", "pixel_std", "box_delta_std"):
        assert getattr(own, name) == getattr(voc, name)
    assert len(own.scales) * len(own.ratios) == len(voc.scales) * len(voc.ratios)
    assert own.resolved_frozen_blocks == 2


def test_blood_cells_from_pretrained_weights_differ_only_in_the_start():
    random, pretrained = map(config_of, ("bccd.cfg", "bccd_finetune.cfg"))
    changes = {"output_dir", "backbone_weights", "pixel_std"}
    one, two = random.to_dict(), pretrained.to_dict()
    assert {name for name in one if one[name] != two[name]} == changes
    assert (pretrained.backbone_weights, pretrained.pixel_std) == ("imagenet", 1.0)

from types import SimpleNamespace

import pytest

from benchmarks import flops, scene
from benchmarks.cases import Case
from keras_frcnn import backbones
from keras_frcnn.layers import BoxHead, RPNHead

# Multiply-adds of VGG16's convolutions on 224 x 224 pixels: size^2 * in * out * map.
FIRST = 9 * 3 * 64 * 224**2
NARROW = 9 * 128 * 256 * 56**2  # the first of blocks 2, 3 and 4: all the same
WIDE = 9 * 256 * 256 * 56**2  # the others of blocks 1 to 4: all the same too
LAST = 9 * 512 * 512 * 14**2  # block 5


@pytest.fixture(scope="module")
def made_vgg16():
    return backbones.make("vgg16", dtype="float32")


@pytest.fixture
def vgg16(made_vgg16):
    """Returns a function that gives VGG16 with its first blocks frozen."""

    def freeze(frozen_blocks):
        layers = {layer.name: layer for layer in made_vgg16.leaf_layers()}
        for block, names in enumerate(made_vgg16.freeze_groups):
            for name in names:
                layers[name].trainable = block >= frozen_blocks
        return made_vgg16

    return freeze


@pytest.fixture
def detector(vgg16):
    """The paper's, with only the shapes of the head's weights, which take seconds to make."""
    rpn_head = RPNHead(9, 512)
    rpn_head.build((None, None, None, 512))
    box_head = SimpleNamespace(
        stage=None,
        convs=[],
        pooled_shape=(7, 7, 512),
        hidden=[layer(25088, 4096), layer(4096, 4096)],
        classes=layer(4096, 21),
        boxes=layer(4096, 84),
    )
    return SimpleNamespace(
        backbone=vgg16(scene.make_config(Case("backbone", "float32")).resolved_frozen_blocks),
        rpn=SimpleNamespace(head=rpn_head),
        roi_head=SimpleNamespace(box_head=box_head),
    )


def layer(rows, columns, trainable=True):
    return SimpleNamespace(kernel=SimpleNamespace(shape=(rows, columns)), trainable=trainable)


def test_vgg16_on_224_pixels_is_the_known_figure(vgg16):
    count = flops.backbone(vgg16(0), (224, 224), batch=1)
    assert FIRST + 3 * NARROW + 6 * WIDE + 3 * LAST == 15_346_630_656
    assert count.forward == pytest.approx(2 * 15.346630656)
    # Every weight has its gradient, every input but the images too.
    assert count.backward == pytest.approx(2 * (2 * 15_346_630_656 - FIRST) / 1e9)
    three = flops.backbone(vgg16(0), (224, 224), batch=3)
    assert three.total == pytest.approx(3 * count.total)


def test_frozen_blocks_have_no_backward_pass(vgg16):
    count = flops.backbone(vgg16(2), (224, 224), batch=1)
    assert count.forward == pytest.approx(2 * 15.346630656)
    trained = 2 * NARROW + 4 * WIDE + 3 * LAST
    # The first trained layer's input comes from frozen ones.
    assert count.backward == pytest.approx(2 * (2 * trained - NARROW) / 1e9)
    assert flops.backbone(vgg16(5), (224, 224), batch=1).backward == 0


def test_zf_counts_strides_and_its_explicit_padding():
    # 224 -> 112 by conv1, 56 by pooling, 28 by conv2, 14 by pooling.
    cells = 3 * 96 * 49 * 112**2 + 96 * 256 * 25 * 28**2
    cells += (256 * 384 + 384 * 384 + 384 * 256) * 9 * 14**2
    assert flops.backbone(backbones.make("zf"), (224, 224), 1).forward == pytest.approx(
        2 * cells / 1e9
    )


def test_a_chain_needs_gradients_of_inputs_only_behind_trained_layers():
    stack = [(layer(10, 20), 3), (layer(20, 5), 3)]
    assert flops.chain(stack, gradient_before=False) == flops.Count(1800e-9, 2400e-9)
    assert flops.chain(stack, gradient_before=True) == flops.Count(1800e-9, 3600e-9)
    stack = [(layer(10, 20, trainable=False), 3), (layer(20, 5), 3)]
    assert flops.chain(stack, gradient_before=False) == flops.Count(1800e-9, 600e-9)
    assert flops.chain(stack, gradient_before=True) == flops.Count(1800e-9, 2400e-9)


def test_the_heads(detector):
    # 3x3 convolution and two 1x1 ones, 9 anchors; on one cell of each of two images.
    rpn = flops.rpn_head(detector.rpn.head, (1, 1), 2, gradient_before=True)
    assert rpn.forward == pytest.approx(4 * (9 * 512 * 512 + 512 * 54) / 1e9)
    assert rpn.backward == pytest.approx(2 * rpn.forward)
    head = flops.box_head(detector.roi_head.box_head, 3, gradient_before=False)
    first, rest = 25088 * 4096, 4096 * 4096 + 4096 * 5 * 21
    assert head.forward == pytest.approx(6 * (first + rest) / 1e9)
    assert head.backward == pytest.approx(6 * (first + 2 * rest) / 1e9)


def test_the_detector_at_600_by_800(detector):
    assert flops.level_shapes(detector.backbone, (600, 800)) == [(37, 50)]
    backbone = flops.backbone(detector.backbone, (600, 800), 1)
    assert backbone.forward == pytest.approx(293, abs=0.5)
    assert backbone.total == pytest.approx(682, abs=0.5)
    assert flops.detector(detector, (600, 800), 1, 300).forward == pytest.approx(374, abs=0.5)
    assert flops.detector(detector, (600, 800), 1, 128).total == pytest.approx(800, abs=0.5)


def test_heads_with_further_convolutions():
    rpn = RPNHead(3, 8, num_convolutions=2)
    rpn.build((None, None, None, 4))
    count = flops.rpn_head(rpn, (5, 7), 2, gradient_before=True)
    assert count.forward == pytest.approx(2 * 70 * (9 * 4 * 8 + 9 * 8 * 8 + 8 * 6 + 8 * 12) / 1e9)
    head = BoxHead(2, (16,), convolutions=(5,))
    head.build((None, None, 3, 3, 4))
    count = flops.box_head(head, 6, gradient_before=True)
    expected = 9 * 9 * 4 * 5 + 45 * 16 + 16 * 3 + 16 * 12  # the convolution on 9 cells
    assert count.forward == pytest.approx(2 * 6 * expected / 1e9)

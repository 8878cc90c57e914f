"""What the importers share: the layers of ResNets by name, and the outputs of both stages."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np

from keras_frcnn.layers import BoxHead, RPNHead
from keras_frcnn.weights.importers.tensor_file import Tensors

_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_Y_FIRST = [1, 0, 3, 2]  # from (dx, dy, dw, dh) to (ty, tx, th, tw)


def resnet_blocks(
    prefix: str,
    first: int,
    norm: str,
    shortcut: tuple[str, str],
    stages: Sequence[int] = (2, 3, 4, 5),
) -> Iterator[tuple[str, str]]:
    """Yields the layers of a ResNet's stages, of as many blocks as the deepest one has.

    Args:
        prefix: what their names start with, with places for the stage and the block.
        first: their number of the stage that is ``conv2`` here.
        norm: their name of the normalisation after a convolution, with a place for its number.
        shortcut: their names of the convolution and the normalisation beside a block.
        stages: our numbers of the stages.

    Yields:
        ``(our name, their name)``.
    """
    for stage in stages:
        for block in range(max(blocks[stage - 2] for blocks in _BLOCKS.values())):
            ours = f"conv{stage}_block{block + 1}"
            theirs = prefix.format(stage - 2 + first, block)
            for number in (1, 2, 3):
                yield f"{ours}_{number}_conv", f"{theirs}conv{number}"
                yield f"{ours}_{number}_bn", f"{theirs}{norm.format(number)}"
            yield f"{ours}_0_conv", f"{theirs}{shortcut[0]}"
            yield f"{ours}_0_bn", f"{theirs}{shortcut[1]}"


def fill(tensors: Tensors, layer: keras.layers.Layer, name: str) -> None:
    """Gives a convolution or a normalisation its weights."""
    is_norm = isinstance(layer, keras.layers.BatchNormalization)
    (tensors.fill_norm if is_norm else tensors.fill_conv)(layer, name)


def fill_rpn_outputs(tensors: Tensors, head: RPNHead, objectness: str, deltas: str, order=None):
    """Gives the RPN's outputs their weights.

    Their objectness is one logit x, whose sigmoid is the softmax of our two logits, 0 and x.

    Args:
        tensors: the tensors.
        head: the RPN's head.
        objectness, deltas: their names of the two layers.
        order: their number of each of our anchors of a cell. Default None: the same.
    """
    count, channels = head.num_anchors, head.channels
    order = np.arange(count) if order is None else order
    parts = (("weight", (channels, 1, 1)), ("bias", ()))
    logits, moves = [], []
    for part, shape in parts:
        ours = np.zeros((count, 2, *shape), np.float32)
        ours[:, 1] = tensors.take(f"{objectness}.{part}", (count, *shape))[order]
        logits.append(ours.reshape(2 * count, *shape))
        theirs = tensors.take(f"{deltas}.{part}", (4 * count, *shape))
        ours = theirs.reshape(count, 4, *shape)[order][:, _Y_FIRST]
        moves.append(ours.reshape(4 * count, *shape))
    for layer, (kernel, bias) in ((head.objectness, logits), (head.deltas, moves)):
        layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])


def fill_box_outputs(
    tensors: Tensors, head: BoxHead, name: str, class_rows: np.ndarray, box_rows: np.ndarray
) -> None:
    """Gives the box head's outputs their weights.

    Args:
        tensors: the tensors.
        head: the box head.
        name: what their names of the two layers start with.
        class_rows: their row of the class logit of background and of each of our classes.
        box_rows: the same of the deltas; -1 for deltas that they lack, which become 0.
    """
    width = head.classes.kernel.shape[0]
    num_theirs = tensors.shape(f"{name}.cls_score.bias")[0]
    num_boxes = tensors.shape(f"{name}.bbox_pred.bias")[0] // 4
    if num_theirs != class_rows.max() + 1:
        raise ValueError(
            f"{tensors.path} must hold a detector of {len(class_rows) - 1} classes. Received: "
            f"{num_theirs - 1}"
        )
    if num_boxes != box_rows.max() + 1:
        raise ValueError(
            f"{tensors.path} must hold deltas of each class. Received: {num_boxes} sets of them, "
            f"for {len(class_rows) - 1} classes"
        )
    kernel = tensors.take(f"{name}.cls_score.weight", (num_theirs, width))[class_rows]
    bias = tensors.take(f"{name}.cls_score.bias", (num_theirs,))[class_rows]
    head.classes.set_weights([kernel.T, bias])
    values = []
    for part, shape in (("weight", (width,)), ("bias", ())):
        theirs = tensors.take(f"{name}.bbox_pred.{part}", (4 * num_boxes, *shape))
        ours = theirs.reshape(num_boxes, 4, *shape)[box_rows][:, _Y_FIRST]
        ours[box_rows < 0] = 0.0
        values.append(ours.reshape(-1, *shape))
    head.boxes.set_weights([values[0].T, values[1]])

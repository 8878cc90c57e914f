"""Random weights of a layer of PyTorch, which every original's side of the check draws.

The sides run in an environment without this package, and import this file as their neighbour.
"""

from torch import nn


def draw_norm(layer, is_last=False):
    """Draws the scale and the offset of batch normalisation.

    The last one of a residual block gets a small scale, as training gives it. Otherwise rounding
    errors grow from block to block, and the original differs from itself in float64.
    """
    scale = 0.25 if is_last else 1.0
    nn.init.uniform_(layer.weight, 0.5 * scale, 1.5 * scale)
    nn.init.normal_(layer.bias, std=0.2 * scale)


def calibrate(layer, run, deviation):
    """Draws the weights of a layer and scales them so that ``run`` gives numbers of a deviation."""
    nn.init.normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    layer.weight *= deviation / run().std()
    nn.init.normal_(layer.bias, std=deviation / 4)

"""Slow, plain NumPy forms of the detector's parts, to test the real ones against.

They are written from the papers and the docstrings, one image at a time, with loops where loops
are plain. Boxes are yxyx in float64; ``roi_pool`` alone works in float32 where the operator that it
describes does.
"""

import math

import numpy as np

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


# --- boxes ----------------------------------------------------------------------------------------


def area(box):
    """Area of one box, 0 if inverted."""
    return max(float(box[2]) - float(box[0]), 0.0) * max(float(box[3]) - float(box[1]), 0.0)


def intersection(a, b):
    """Area that two boxes share."""
    return area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])


def iou(a, b):
    """Intersection over union of all pairs of boxes [N, 4] and [M, 4]; 0 without any area."""
    result = np.zeros((len(a), len(b)))
    for i, one in enumerate(np.asarray(a, np.float64)):
        for j, other in enumerate(np.asarray(b, np.float64)):
            shared = intersection(one, other)
            union = area(one) + area(other) - shared
            result[i, j] = shared / union if union > 0 else 0.0
    return result


def encode(anchors, boxes, std=(1.0, 1.0, 1.0, 1.0)):
    """Deltas (ty, tx, th, tw) from anchors [N, 4] to boxes [N, 4] of positive area."""
    a, b = np.asarray(anchors, np.float64), np.asarray(boxes, np.float64)
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    shift = ((b[:, 2:] + b[:, :2]) - (a[:, 2:] + a[:, :2])) / 2 / size_a
    return np.concatenate([shift, np.log(size_b / size_a)], axis=1) / np.asarray(std)


def decode(anchors, deltas, std=(1.0, 1.0, 1.0, 1.0)):
    """Boxes that deltas [N, 4] make of anchors [N, 4]; growth of a side is bounded by 1000 / 16."""
    a = np.asarray(anchors, np.float64)
    deltas = np.asarray(deltas, np.float64) * np.asarray(std)
    size = a[:, 2:] - a[:, :2]
    centre = (a[:, 2:] + a[:, :2]) / 2 + deltas[:, :2] * size
    size = size * np.exp(np.minimum(deltas[:, 2:], np.log(1000 / 16)))
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def clip(boxes, image_shape):
    """Boxes with every corner moved into the image."""
    height, width = image_shape
    return np.clip(boxes, 0, [height, width, height, width])


# --- anchors --------------------------------------------------------------------------------------


def anchors(h, w, scales, ratios, stride, offset=0.5, rounding=False):
    """All anchors [h * w * A, 4] by row, column, ratio, scale."""
    result = []
    for row in range(h):
        for column in range(w):
            y, x = (row + offset) * stride, (column + offset) * stride
            for ratio in ratios:
                for scale in scales:
                    height, width = scale * ratio**0.5, scale / ratio**0.5
                    height, width = height / 2, width / 2
                    if rounding:
                        height, width = round(height), round(width)
                    result.append([y - height, x - width, y + height, x + width])
    return np.array(result)


def label_anchors(
    boxes, gt_boxes, image_shape, fg, bg, border_anchors=False, valid=None, ignored_boxes=()
):
    """Labels of the paper's section 3.1.2, before sampling.

    Args:
        boxes: anchors [N, 4].
        gt_boxes: the objects [G, 4], no padding.
        image_shape: (height, width).
        fg, bg: IoU thresholds.
        border_anchors: whether anchors across the border take part.
        valid: [N] bool or None.
        ignored_boxes: regions in which nothing is background.

    Returns:
        ``(labels [N], match [N])``: POSITIVE, NEGATIVE or IGNORED, and the object of highest IoU.
    """
    height, width = image_shape
    takes_part = [
        (valid is None or valid[i])
        and (border_anchors or (b[0] >= 0 and b[1] >= 0 and b[2] <= height and b[3] <= width))
        for i, b in enumerate(boxes)
    ]
    table = iou(boxes, gt_boxes)
    labels, match = np.full(len(boxes), IGNORED), np.zeros(len(boxes), int)
    for i in range(len(boxes)):
        if not takes_part[i]:
            continue
        best = max(table[i], default=0.0)
        if best < bg:
            labels[i] = NEGATIVE
        for region in ignored_boxes:
            if labels[i] == NEGATIVE and intersection(boxes[i], region) >= 0.5 * area(boxes[i]):
                labels[i] = IGNORED
        if best >= fg:
            labels[i] = POSITIVE
        if len(gt_boxes):
            match[i] = int(np.argmax(table[i]))
    for j in range(len(gt_boxes)):
        best = max((table[i, j] for i in range(len(boxes)) if takes_part[i]), default=0.0)
        for i in range(len(boxes)):
            # Anchors have rounded corners, so that equal overlaps differ in their last digits.
            if takes_part[i] and best > 0 and math.isclose(table[i, j], best, rel_tol=1e-4):
                labels[i] = POSITIVE
    return labels, match


def sample_counts(assignment, num_samples, fg_fraction):
    """How many positives and negatives a draw from ``assignment`` [N] has."""
    positives = min(int(np.sum(assignment == POSITIVE)), int(num_samples * fg_fraction))
    return positives, min(int(np.sum(assignment == NEGATIVE)), num_samples - positives)


# --- suppression ----------------------------------------------------------------------------------


def nms(boxes, scores, max_output_size, iou_threshold, valid=None):
    """Greedy suppression: rows kept, best first; ties of score go to the lower row."""
    # The threshold is a float32 everywhere: an IoU of exactly that much is not above it.
    threshold = np.float64(np.float32(iou_threshold))
    table = iou(boxes, boxes)
    kept = []
    for i in np.argsort(-np.asarray(scores, np.float64), kind="stable"):
        if len(kept) == max_output_size:
            break
        if (valid is None or valid[i]) and all(table[i, k] <= threshold for k in kept):
            kept.append(int(i))
    return kept


def propose(
    logits, deltas, anchor_boxes, image_shape, *, pre, post, iou_threshold, min_size=0.0,
    valid=None, scale=(1.0, 1.0),
):  # fmt: skip
    """Proposals of one image: ``(boxes [K, 4], scores [K])``, K <= post."""
    logits = np.asarray(logits, np.float64)
    objectness = logits[:, 1] - logits[:, 0]
    rows = [i for i in range(len(objectness)) if valid is None or valid[i]]
    rows = sorted(rows, key=lambda i: -objectness[i])[:pre]
    boxes = clip(decode(anchor_boxes[rows], deltas[rows]), image_shape)
    sides = boxes[:, 2:] - boxes[:, :2]
    large = np.all((sides >= min_size * np.asarray(scale)) & (sides > 0), axis=1)
    boxes, objectness = boxes[large], objectness[rows][large]
    kept = nms(boxes, objectness, post, iou_threshold)
    return boxes[kept], 1 / (1 + np.exp(-objectness[kept]))


def detect(
    rois, class_logits, box_deltas, image_shape, *,
    std, score_threshold, iou_threshold, max_detections,
):  # fmt: skip
    """Detections of one image: list of ``(score, label, box)``, best first."""
    logits = np.asarray(class_logits, np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    found = []
    for label in range(logits.shape[1] - 1):
        scores = probabilities[:, label + 1]
        boxes = clip(decode(rois, box_deltas[:, label + 1], std), image_shape)
        usable = (scores > np.float32(score_threshold)) & np.array([area(box) > 0 for box in boxes])
        for i in nms(boxes, scores, len(rois), iou_threshold, valid=usable):
            found.append((scores[i], label, boxes[i]))
    return sorted(found, key=lambda one: -one[0])[:max_detections]


# --- regions --------------------------------------------------------------------------------------


def _round_half_away(x):
    return int(np.sign(x) * np.floor(abs(float(x)) + 0.5))


def _bins(first, last, limit, pool_size, stride):
    """Ranges of cells of the bins along one axis, in the float32 steps of Fast R-CNN's operator."""
    scale = np.float32(1 / stride)
    start = _round_half_away(np.float32(first) * scale)
    end = _round_half_away(np.float32(last) * scale)
    bin_size = np.float32(max(end - start + 1, 1)) / np.float32(pool_size)
    return [
        (
            min(max(start + int(np.floor(np.float32(i) * bin_size)), 0), limit),
            min(max(start + int(np.ceil(np.float32(i + 1) * bin_size)), 0), limit),
        )
        for i in range(pool_size)
    ]


def _windows(features, rois, pool_size, stride):
    """Yields ``(roi, bin row, bin column, cells)``; cells are the (y, x) of a bin in row order."""
    h, w = features.shape[:2]
    for r, (y1, x1, y2, x2) in enumerate(rois):
        for i, (top, bottom) in enumerate(_bins(y1, y2, h, pool_size, stride)):
            for j, (left, right) in enumerate(_bins(x1, x2, w, pool_size, stride)):
                yield r, i, j, [(y, x) for y in range(top, bottom) for x in range(left, right)]


def roi_pool(features, rois, pool_size, stride):
    """Fast R-CNN's max pooling: features [h, w, C], rois [R, 4] -> [R, p, p, C]."""
    output = np.zeros((len(rois), pool_size, pool_size, features.shape[2]), features.dtype)
    for r, i, j, cells in _windows(features, rois, pool_size, stride):
        if cells:
            output[r, i, j] = np.max([features[cell] for cell in cells], axis=0)
    return output


def roi_pool_gradient(features, rois, upstream, pool_size, stride):
    """Gradient of ``roi_pool``: each bin's goes to its first maximum in row order."""
    gradient = np.zeros(features.shape)
    for r, i, j, cells in _windows(features, rois, pool_size, stride):
        for c in range(features.shape[2]) if cells else ():
            y, x = cells[int(np.argmax([features[y, x, c] for y, x in cells]))]
            gradient[y, x, c] += upstream[r, i, j, c]
    return gradient


def bilinear(features, y, x):
    """Value [C] at a point, cell centres at whole numbers; 0 more than a cell outside the map."""
    h, w = features.shape[:2]
    if y < -1 or x < -1 or y > h or x > w:
        return np.zeros(features.shape[2])
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    top, left = int(np.floor(y)), int(np.floor(x))
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    dy, dx = y - top, x - left
    return (1 - dy) * ((1 - dx) * features[top, left] + dx * features[top, right]) + dy * (
        (1 - dx) * features[bottom, left] + dx * features[bottom, right]
    )


def roi_align(features, rois, pool_size, stride, sampling_ratio):
    """Mask R-CNN's RoIAlign, half a cell shifted; shapes as ``roi_pool``. With a ``sampling_ratio``
    of 0, a bin has as many samples as it covers cells, rounded up.
    """
    features = np.asarray(features, np.float64)
    output = np.zeros((len(rois), pool_size, pool_size, features.shape[2]))
    for r, roi in enumerate(np.asarray(rois, np.float64)):
        y1, x1, y2, x2 = roi / stride - 0.5
        bin_h, bin_w = (y2 - y1) / pool_size, (x2 - x1) / pool_size
        rows, columns = (sampling_ratio or int(np.ceil(size)) for size in (bin_h, bin_w))
        if min(rows, columns) <= 0:
            continue
        for i in range(pool_size):
            for j in range(pool_size):
                output[r, i, j] = np.mean(
                    [
                        bilinear(
                            features,
                            y1 + (i + (sy + 0.5) / rows) * bin_h,
                            x1 + (j + (sx + 0.5) / columns) * bin_w,
                        )
                        for sy in range(rows)
                        for sx in range(columns)
                    ],
                    axis=0,
                )
    return output


# --- losses and gradients -------------------------------------------------------------------------


def smooth_l1(x, beta):
    """Fast R-CNN's equation 3 with the corner at ``beta``."""
    x = np.abs(np.asarray(x, np.float64))
    return np.where(x < beta, x * x / (2 * beta), x - beta / 2)


def cross_entropy(logits, labels):
    """Minus the logarithm of the softmax of the right class: logits [..., K], labels [...]."""
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=-1, keepdims=True)
    right = np.take_along_axis(logits, np.asarray(labels)[..., np.newaxis], axis=-1)[..., 0]
    return np.log(np.exp(logits).sum(axis=-1)) - right


def central_differences(function, x, step=1e-4):
    """Gradient of a scalar function of a float64 array, by central differences."""
    x = np.array(x, np.float64)
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        middle = x[index]
        x[index] = middle + step
        above = function(x)
        x[index] = middle - step
        gradient[index] = (above - function(x)) / (2 * step)
        x[index] = middle
    return gradient


# --- made scenes ----------------------------------------------------------------------------------


def random_boxes(rng, shape, image_shape=(100, 100), smallest=4, largest=60, whole=False):
    """Boxes [*shape, 4] float32 of positive area, some of them across the image's border."""
    sizes = rng.uniform(smallest, largest, (*shape, 2))
    centres = rng.uniform(0, 1, (*shape, 2)) * np.asarray(image_shape)
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=-1)
    return (np.round(boxes) if whole else boxes).astype("float32")

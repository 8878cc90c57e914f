"""The VOC development kit's evaluation of one class, step by step, in its own coordinates.

Slow on purpose: plain loops over 1-based, inclusive boxes with "+1" sides, and exact fractions, so
that it shares neither code, nor convention, nor rounding with the package.
"""

from fractions import Fraction


def overlap(a, b):
    """Returns the IoU of two inclusive boxes (xmin, ymin, xmax, ymax), or None if apart."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return None
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return Fraction(width * height, area_a + area_b - width * height)


def evaluate_class(objects, detections, min_overlap):
    """Evaluates one class.

    Args:
        objects: {image id: [(box, difficult), ...]}.
        detections: [(image id, score, box), ...] in the order of the result file.
        min_overlap: a Fraction.

    Returns:
        (11-point AP, area AP) or None without objects that are not difficult.
    """
    num_positive = sum(not difficult for listed in objects.values() for _, difficult in listed)
    if not num_positive:
        return None
    taken = {image_id: [False] * len(listed) for image_id, listed in objects.items()}
    true_positives, false_positives, curve = 0, 0, []
    for image_id, _, box in sorted(detections, key=lambda row: -row[1]):  # stable
        best, best_index = None, None
        for index, (gt_box, _) in enumerate(objects.get(image_id, [])):
            iou = overlap(box, gt_box)
            if iou is not None and (best is None or iou > best):
                best, best_index = iou, index
        if best is None or best < min_overlap:
            false_positives += 1
        elif objects[image_id][best_index][1]:
            pass  # a difficult object: as if the detection were not there
        elif taken[image_id][best_index]:
            false_positives += 1
        else:
            true_positives += 1
            taken[image_id][best_index] = True
        if true_positives + false_positives:
            precision = Fraction(true_positives, true_positives + false_positives)
            curve.append((Fraction(true_positives, num_positive), precision))
    return _ap_11point(curve), _ap_area(curve)


def _ap_11point(curve):
    total = Fraction(0)
    for tenth in range(11):
        reached = [precision for recall, precision in curve if recall >= Fraction(tenth, 10)]
        total += max(reached, default=Fraction(0))
    return float(total / 11)


def _ap_area(curve):
    recalls = [Fraction(0), *(recall for recall, _ in curve), Fraction(1)]
    precisions = [Fraction(0), *(precision for _, precision in curve), Fraction(0)]
    for index in range(len(precisions) - 2, -1, -1):
        precisions[index] = max(precisions[index], precisions[index + 1])
    area = Fraction(0)
    for index in range(1, len(recalls)):
        area += (recalls[index] - recalls[index - 1]) * precisions[index]
    return float(area)

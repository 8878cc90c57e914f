"""What is wrong with each detection, image by image with plain loops and exact fractions.

Written from the rules as ``errors`` and ``matches`` state them, without their code.
"""

from fractions import Fraction


def area(box):
    return Fraction(box[2] - box[0]) * Fraction(box[3] - box[1])


def shared(a, b):
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return Fraction(max(height, 0)) * Fraction(max(width, 0))


def overlap(box, other, region):
    common = shared(box, other)
    if not common:
        return Fraction(0)
    return common / (area(box) if region else area(box) + area(other) - common)


def find(detections, objects, threshold, metric):
    """Finds each detection's object in one image.

    Args:
        detections: [(box, score, label), ...].
        objects: [(box, label, ignored), ...].
        threshold: a Fraction.
        metric: "voc" or "coco".

    Returns:
        For each detection ("right" | "wrong" | "ignored", index of its object or None).
    """
    answers, taken, seen = [None] * len(detections), set(), {}
    for place in sorted(range(len(detections)), key=lambda k: -detections[k][1]):
        box, _, label = detections[place]
        seen[label] = seen.get(label, 0) + 1
        best, best_index = Fraction(-1), None
        own = [n for n, (_, other, _) in enumerate(objects) if other == label]
        if metric == "voc":
            for n in own:
                value = overlap(box, objects[n][0], False)
                if value > best:
                    best, best_index = value, n
            if best < threshold or not best:
                answers[place] = ("wrong", None)
            elif objects[best_index][2]:
                answers[place] = ("ignored", best_index)
            elif best_index in taken:
                answers[place] = ("wrong", None)
            else:
                answers[place] = ("right", best_index)
                taken.add(best_index)
            continue
        if seen[label] > 100:
            answers[place] = ("ignored", None)
            continue
        for n in own:
            value = overlap(box, objects[n][0], objects[n][2])
            if not objects[n][2] and n not in taken and value >= max(best, threshold):
                best, best_index = value, n
        for n in own if best_index is None else ():
            value = overlap(box, objects[n][0], objects[n][2])
            if objects[n][2] and value >= max(best, threshold):
                best, best_index = value, n
        if best_index is None:
            answers[place] = ("wrong", None)
        else:
            answers[place] = ("ignored" if objects[best_index][2] else "right", best_index)
            taken.add(best_index)
    return answers


def explain(detections, objects, threshold, metric):
    """Returns [(kind, object or None), ...] of the detections, and which objects are missed."""
    answers = []
    for (box, _, label), (verdict, match) in zip(
        detections, find(detections, objects, threshold, metric), strict=True
    ):
        if verdict != "wrong":
            answers.append(("correct" if verdict == "right" else "ignored", match))
            continue
        own, others = (Fraction(0), None), (Fraction(0), None)
        for n, (other, other_label, ignored) in enumerate(objects):
            if metric == "coco" and ignored:
                continue
            value = overlap(box, other, False)
            if other_label == label and value > own[0]:
                own = (value, n)
            if other_label != label and value > others[0]:
                others = (value, n)
        tenth = Fraction(1, 10)
        if tenth <= own[0] < threshold:
            answers.append(("localisation", own[1]))
        elif others[0] >= threshold:
            answers.append(("confusion", others[1]))
        elif own[0] >= threshold:
            answers.append(("duplicate", own[1]))
        elif others[0] >= tenth:
            answers.append(("both", others[1]))
        else:
            answers.append(("background", None))
    named = {n for kind, n in answers if kind in ("correct", "localisation", "confusion")}
    missed = [n for n, (_, _, ignored) in enumerate(objects) if not ignored and n not in named]
    return answers, missed

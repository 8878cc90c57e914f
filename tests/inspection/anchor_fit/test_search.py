"""The search for anchors: it finds what was planted, and on small lists the best of all."""

import itertools

import numpy as np
import pytest

from keras_frcnn.inspection.anchor_fit import best_iou, search
from tests.inspection.anchor_fit.handmade import objects


def planted(sides, number=40, image_shape=(400, 400)):
    """Objects of some heights and widths, each exactly on a cell's centre, well inside."""
    centres = np.random.default_rng(0).integers(10, 15, (number, 2)) * 16 + 8
    sides = np.float64(sides)[np.arange(number) % len(sides)]
    return objects(np.hstack([centres - sides / 2, centres + sides / 2]), image_shape)


def test_worth_is_the_mean_of_the_three_figures():
    found = search.worth(np.array([0.0, 0.49, 0.5, 0.7, 1.0]))
    np.testing.assert_allclose(found, [0, 0.49 / 3, 1.5 / 3, 2.7 / 3, 1])


@pytest.mark.parametrize("kind", ["inside", "all"])
def test_it_finds_what_was_planted(kind):
    sides = [
        (scale * np.sqrt(ratio), scale / np.sqrt(ratio)) for scale in (24, 96) for ratio in (1, 2.5)
    ]
    found = search.suggest(planted(sides), [16], kind, 2, 2)
    assert found == ((24, 96), (1, 2.5))


def test_anchors_that_are_not_in_the_lists_can_stay():
    sides = [(37 * 1.1, 37 / 1.1)]
    chosen = ((37.0,), (1.21,))
    assert search.suggest(planted(sides), [16], "all", 1, 1, chosen) == chosen
    assert search.suggest(planted(sides), [16], "all", 1, 1) == ((40,), (1.25,))


def test_it_finds_the_best_of_all(monkeypatch):
    scales, ratios = (16, 24, 40, 64, 96), (0.5, 0.8, 1.25, 2)
    monkeypatch.setattr(search, "SCALES", scales)
    monkeypatch.setattr(search, "RATIOS", ratios)
    rng = np.random.default_rng(1)
    sides = np.exp(rng.uniform(np.log(12), np.log(120), (60, 2)))
    near = rng.uniform(0, 130, (60, 2))
    some = objects(np.hstack([near, near + sides]), (256, 256))

    def value(picks):
        best = best_iou.best_iou(some, best_iou.anchor_grids(*picks, [16]), "all")
        return np.mean(search.worth(best))

    every = itertools.product(itertools.combinations(scales, 2), itertools.combinations(ratios, 2))
    best = max(every, key=value)
    assert search.suggest(some, [16], "all", 2, 2) == best


@pytest.mark.parametrize("seed", [298, 371, 395])  # where the other starts end in worse places
def test_it_never_falls_behind_what_was_chosen(seed):
    sides = np.exp(np.random.default_rng(seed).uniform(np.log(12), np.log(200), (6, 2)))
    some = objects(np.hstack([0 * sides, sides]), (256, 256))
    scales, ratios = np.sqrt(np.prod(sides, axis=1)), sides[:, 0] / sides[:, 1]
    chosen = tuple(scales[:2].tolist()), tuple(ratios[:2].tolist())
    found = search.suggest(some, [16], "inside", 2, 2, chosen)
    new, old = (
        best_iou.best_iou(some, best_iou.anchor_grids(*picks, [16]), "inside")
        for picks in (found, chosen)
    )
    assert np.mean(search.worth(new)) >= np.mean(search.worth(old)) - 1e-6


def test_of_many_objects_some_are_drawn(monkeypatch):
    monkeypatch.setattr(search, "MOST_OBJECTS", 10)
    looked = []
    real = best_iou.shape_ious
    monkeypatch.setattr(
        search,
        "shape_ious",
        lambda some, *rest: looked.append(len(some.boxes)) or real(some, *rest),
    )
    some = planted([(24, 24), (90, 90)], number=50)
    assert search.suggest(some, [16], "all", 2, 1) == ((24, 96), (1,))
    assert looked == [10]


@pytest.mark.parametrize(("counts", "words"), [((26, 1), "scales"), ((1, 16), "ratios")])
def test_too_many_are_refused(counts, words):
    with pytest.raises(ValueError, match=f"num_{words} must be 1 to .* Received: {max(counts)}"):
        search.suggest(planted([(24, 24)]), [16], "all", *counts)


def test_all_that_there_are_can_be_had():
    counts = len(search.SCALES), len(search.RATIOS)
    found = search.suggest(planted([(24, 24)], number=3), [16], "all", *counts)
    assert found == (search.SCALES, search.RATIOS)


def both_levels():
    """Small objects on the centres of a level of stride 8, large ones on those of stride 32."""
    rng = np.random.default_rng(0)
    small = rng.integers(10, 40, (30, 2)) * 8 + 4
    large = rng.integers(4, 8, (30, 2)) * 32 + 16
    boxes = [np.hstack([c - side / 2, c + side / 2]) for c, side in ((small, 16), (large, 96))]
    return objects(np.concatenate(boxes), (400, 400), 8, 32)


def test_scales_that_levels_share_are_of_both():
    found = search.suggest(both_levels(), [8, 32], "all", 2, 1)
    assert found == ((16, 96), (1,))
    # The second level alone is too coarse for the small objects.
    grids = best_iou.anchor_grids(*found, [8, 32])
    ious = best_iou.best_iou(both_levels(), grids, "all")
    assert np.all(ious == 1)
    assert best_iou.best_iou(both_levels(), grids[1:], "all").min() < 1


def test_each_level_may_have_its_own_scales():
    chosen = (((24.0,), (64.0,)), (1.0,))
    assert search.suggest(both_levels(), [8, 32], "all", 1, 1, chosen) == (((16,), (96,)), (1,))
    two = search.suggest(both_levels(), [8, 32], "all", 2, 1, chosen)
    assert [len(of_level) for of_level in two[0]] == [2, 2]
    assert 16 in two[0][0] and 96 in two[0][1]


def test_scales_by_level_that_are_not_in_the_lists_can_stay():
    sides = np.repeat([[17.5], [99.5]], 20, axis=0)
    centres = np.repeat([[100.0], [208.0]], 20, axis=0)
    boxes = np.hstack([centres - sides / 2, centres - sides / 2, *[centres + sides / 2] * 2])
    some, chosen = objects(boxes, (400, 400), 8, 32), (((17.5,), (99.5,)), (1.0,))
    assert search.suggest(some, [8, 32], "all", 1, 1, chosen) == chosen

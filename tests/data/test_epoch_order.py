"""The order of training: every row once an epoch, little padding, the same on every machine."""

import itertools

import numpy as np
import pytest

from keras_frcnn.data import epoch_order
from keras_frcnn.data.images import transforms


def _draws(aspects, batch_size, seed, count):
    return np.array(list(itertools.islice(epoch_order.batches(aspects, batch_size, seed), count)))


def _permuted(rows, seed, epoch):
    return np.random.default_rng([seed, epoch]).permutation(rows).tolist()


def _epochs(draws):
    """Returns the sets of batches (as sets of rows) that begin in each epoch."""
    found = {}
    for batch in draws.tolist():
        found.setdefault(batch[0][1], set()).add(frozenset(row for row, _ in batch))
    return found


def _voc_like_sizes():
    """Heights and widths of as many images as VOC2007's trainval has, and much as there."""
    rng = np.random.default_rng(0)
    common = [(375, 500), (333, 500), (500, 375), (332, 500), (500, 333), (334, 500), (500, 332)]
    shares = [0.42, 0.14, 0.09, 0.03, 0.03, 0.02, 0.02]
    sizes = np.repeat(common, np.round(5011 * np.array(shares)).astype(int), axis=0)
    rest = np.full((5011 - len(sizes), 2), 500)
    rest[np.arange(len(rest)), rng.choice(2, len(rest), p=[0.75, 0.25])] = np.clip(
        rng.normal(360, 70, len(rest)), 97, 500
    )
    return np.concatenate([sizes, rest])


def _padded_share(draws, sizes):
    """Returns how much of the batches is no image."""
    resized = np.stack(transforms.target_shape(*sizes.T, 600, 1000), axis=1)[draws[..., 0]]
    padded = draws.shape[1] * resized.max(axis=1).prod(axis=1)
    return 1 - resized.prod(axis=2).sum() / padded.sum()


VOC_LIKE = _voc_like_sizes()
VOC_LIKE_ASPECTS = dict(enumerate(VOC_LIKE[:, 0] / VOC_LIKE[:, 1]))


@pytest.mark.parametrize("aspects", [dict.fromkeys(range(10), 1.0), VOC_LIKE_ASPECTS])
def test_batches_of_one_come_as_permuted(aspects):
    rows = np.arange(len(aspects))
    expected = [(row, epoch) for epoch in range(3) for row in _permuted(rows, 5, epoch)]
    np.testing.assert_array_equal(_draws(aspects, 1, 5, len(expected))[:, 0], expected)


def test_an_epoch_draws_every_row_once_in_an_order_of_its_own():
    draws = _draws(dict.fromkeys(range(10), 1.0), 1, 0, 50)[:, 0]
    epochs = draws.reshape(5, 10, 2)
    np.testing.assert_array_equal(epochs[..., 1], np.repeat(np.arange(5), 10).reshape(5, 10))
    orders = [tuple(epoch_order) for epoch_order in epochs[..., 0]]
    assert all(sorted(epoch_order) == list(range(10)) for epoch_order in orders)
    assert len(set(orders)) == 5


def test_rows_of_one_shape_come_as_permuted():
    aspects = dict.fromkeys(range(0, 2000, 2), 0.75)  # 1000 rows, in batches of 3
    expected = [row for epoch in range(3) for row in _permuted(list(aspects), 1, epoch)]
    np.testing.assert_array_equal(_draws(aspects, 3, 1, 1000)[..., 0].ravel(), expected)


def test_rows_of_one_shape_keep_their_order_among_others():
    """The order is the same on every machine, though sorting equal numbers is not."""
    place = np.argsort(_permuted(np.arange(5011), 0, 0))
    drawn = _draws(VOC_LIKE_ASPECTS, 4, 0, 1252)[..., 0]
    aspects = np.vectorize(VOC_LIKE_ASPECTS.get)(drawn)
    alike = drawn[aspects.min(axis=1) == aspects.max(axis=1)]
    assert len(alike) > 700
    assert np.all(np.diff(place[alike], axis=1) > 0)


def test_the_order_depends_on_the_seed_alone():
    for aspects in (dict.fromkeys(range(10), 1.0), VOC_LIKE_ASPECTS):
        np.testing.assert_array_equal(_draws(aspects, 2, 5, 30), _draws(aspects, 2, 5, 30))
        assert np.any(_draws(aspects, 2, 5, 30) != _draws(aspects, 2, 6, 30))


@pytest.mark.parametrize("batch_size", [2, 3, 5, 8])
def test_a_batch_holds_one_orientation_and_leftovers_wait(batch_size):
    rng = np.random.default_rng(batch_size)
    aspects = dict(enumerate(np.exp(rng.normal(-0.2, 0.4, 131)).tolist()))
    draws = _draws(aspects, batch_size, 1, 800)
    for batch in draws:
        assert len({aspects[row] > 1 for row, _ in batch.tolist()}) == 1
    pairs = [tuple(pair) for pair in draws.reshape(-1, 2).tolist()]
    assert len(set(pairs)) == len(pairs)  # a row at most once an epoch
    finished = draws[-1][:, 1].min() - 2
    assert finished > 5
    for epoch in range(finished):
        assert sorted(row for row, drawn in pairs if drawn == epoch) == list(range(131))


@pytest.mark.parametrize(("batch_size", "bound"), [(2, 0.01), (4, 0.01), (8, 0.02)])
def test_little_is_padded(batch_size, bound):
    epoch = _draws(VOC_LIKE_ASPECTS, batch_size, 0, 5011 // batch_size)
    assert _padded_share(epoch, VOC_LIKE) <= bound


def test_batches_of_like_shapes_come_in_random_order():
    epoch = _draws(VOC_LIKE_ASPECTS, 4, 0, 1252)[..., 0]
    aspects = np.vectorize(VOC_LIKE_ASPECTS.get)(epoch).mean(axis=1)
    for property_ in (aspects > 1, aspects, aspects == 0.75):
        quarters = property_.reshape(4, -1).mean(axis=1)
        np.testing.assert_allclose(quarters, property_.mean(), rtol=0.25)
    turns = np.diff(aspects[:-1]) * np.diff(aspects[1:]) < 0
    assert turns.mean() > 0.4  # 2 / 3 where no two are equal, 0 if sorted


def test_partners_change_from_epoch_to_epoch():
    first, second = list(_epochs(_draws(VOC_LIKE_ASPECTS, 4, 0, 2500)).values())[:2]
    assert len(first & second) <= 2
    different = {row: 0.5 + row / 100 for row in range(24)}  # a small set, all shapes differ
    seen = list(_epochs(_draws(different, 2, 0, 240)).values())
    assert len(seen) == 20
    partners = {row for epoch in seen for batch in epoch if 3 in batch for row in batch} - {3}
    assert len(partners) >= 8


def test_rows_need_not_fill_a_batch():
    (batch,) = _draws({4: 0.7}, 3, 0, 1)
    assert batch.tolist() == [[4, 0], [4, 1], [4, 2]]


def test_one_portrait_among_landscapes_waits_for_itself():
    aspects = {0: 0.75, 1: 0.6, 2: 1.5, 3: 0.75, 4: 1.0}
    draws = _draws(aspects, 2, 0, 50).tolist()
    portraits = [batch for batch in draws if batch[0][0] == 2]
    assert portraits == [[[2, epoch], [2, epoch + 1]] for epoch in range(0, 20, 2)]
    others = sorted(pair for batch in draws if batch not in portraits for pair in batch)
    assert others == [[row, epoch] for row in (0, 1, 3, 4) for epoch in range(20)]

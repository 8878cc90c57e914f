import numpy as np
import pytest

from keras_frcnn.evaluation.metrics import proposal_recall

A, B = [0, 0, 10, 10], [0, 0, 10, 9]
FAR = [50, 50, 60, 60]
NONE = np.zeros((0, 4))


def test_one_proposal_covers_one_object():
    # A's proposal has IoU 0.9 with B too, yet it is used up.
    assert proposal_recall.recall([np.array([A, B])], [np.array([A])], [1], [0.5]) == 0.5
    assert proposal_recall.recall([np.array([A, B])], [np.array([A, A])], [2], [0.5]) == 1


def test_best_pair_is_taken_first():
    # B fits the first proposal exactly (IoU 1), so A must take the second (IoU 0.7), although A and
    # the first have IoU 0.9.
    gt, candidates = [np.array([A, B])], [np.array([B, [0, 0, 10, 7]])]
    np.testing.assert_allclose(
        proposal_recall.recall(gt, candidates, [1, 2], [0.65, 0.75]), [[0.5, 0.5], [1.0, 0.5]]
    )


def test_only_the_best_proposals_count():
    candidates = [np.array([FAR, FAR, A]), np.array([A])]
    gt = [np.array([A]), np.array([A])]
    np.testing.assert_array_equal(
        proposal_recall.recall(gt, candidates, [1, 2, 3, 300])[:, 0], [0.5, 0.5, 1, 1]
    )


def test_defaults_are_those_of_the_paper():
    result = proposal_recall.recall([np.array([A])], [np.array([A])])
    assert proposal_recall.NUM_PROPOSALS == (50, 100, 200, 300)
    np.testing.assert_array_equal(result, np.ones((4, 1)))


def test_iou_equal_to_the_threshold_is_enough():
    result = proposal_recall.recall(
        [np.array([A])], [np.array([[0, 0, 20, 10]])], [1], [0.5, 0.500001]
    )
    np.testing.assert_array_equal(result, [[1, 0]])


def test_average_recall_golden():
    # IoU 0.72 reaches 0.5, 0.55, 0.6, 0.65 and 0.7: five of ten thresholds.
    gt = [np.array([[0, 0, 100, 100]])]
    result = proposal_recall.average_recall(
        gt, [np.array([[0, 0, 100, 72], [0, 0, 100, 100]])], [1, 2]
    )
    np.testing.assert_allclose(result, [0.5, 1.0])


def test_thresholds_of_average_recall_are_exact():
    assert proposal_recall.AVERAGE_RECALL_IOU_THRESHOLDS == (
        0.5,
        0.55,
        0.6,
        0.65,
        0.7,
        0.75,
        0.8,
        0.85,
        0.9,
        0.95,
    )


def test_nothing_there():
    one = np.array([A])
    np.testing.assert_array_equal(proposal_recall.recall([], [], [1]), [[np.nan]])
    np.testing.assert_array_equal(proposal_recall.recall([NONE], [one], [1]), [[np.nan]])
    np.testing.assert_array_equal(proposal_recall.average_recall([NONE], [NONE], [1]), [np.nan])
    np.testing.assert_array_equal(proposal_recall.recall([one], [NONE], [1]), [[0]])
    np.testing.assert_array_equal(proposal_recall.recall([one, NONE], [one, one], [1]), [[1]])


@pytest.mark.parametrize("seed", range(50))
def test_equals_a_slow_reference(seed):
    generator = np.random.default_rng(seed)
    thresholds, limits = [0.1, 0.3, 0.5], [1, 3, 7]
    gt = [random_boxes(generator, generator.integers(0, 5)) for _ in range(3)]
    candidates = [random_boxes(generator, generator.integers(0, 8)) for _ in range(3)]
    total = sum(map(len, gt))
    expected = np.full((3, 3), np.nan)
    for row, limit in enumerate(limits):
        best = [
            iou
            for boxes, others in zip(gt, candidates, strict=True)
            for iou in greedy(boxes.tolist(), others[:limit].tolist())
        ]
        for column, threshold in enumerate(thresholds):
            if total:
                expected[row, column] = sum(iou >= threshold for iou in best) / total
    np.testing.assert_allclose(proposal_recall.recall(gt, candidates, limits, thresholds), expected)


def greedy(boxes, others):
    """Pops the best pair until one side is used up; of equal ones the first."""
    boxes, others, best = list(boxes), list(others), []
    while boxes and others:
        pairs = [
            (slow_iou(a, b), -i, -j) for i, a in enumerate(boxes) for j, b in enumerate(others)
        ]
        iou, i, j = max(pairs)
        boxes.pop(-i)
        others.pop(-j)
        best.append(iou)
    return best


def slow_iou(a, b):
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(height, 0) * max(width, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def random_boxes(generator, count):
    near = generator.integers(0, 10, [count, 2])
    return np.concatenate([near, near + generator.integers(1, 12, [count, 2])], axis=1)


@pytest.mark.parametrize(
    ("gt", "candidates", "limits", "message"),
    [
        ([NONE], [], [1], "one array for each image. Received: 1 and 0"),
        ([NONE], [np.zeros(4)], [1], r"proposals\[0\] must have shape"),
        ([NONE, np.zeros((2, 5))], [NONE, NONE], [1], r"gt_boxes\[1\] must have shape .* \(2, 5\)"),
        ([NONE], [NONE], [5, 0], "num_proposals must be positive"),
    ],
)
def test_malformed_arguments(gt, candidates, limits, message):
    with pytest.raises(ValueError, match=message):
        proposal_recall.recall(gt, candidates, limits)


def test_curves_golden():
    # The exact proposal is the third of image 1; image 2 has one of IoU 0.72.
    gt = [np.array([A]), np.array([[0, 0, 100, 100]]), NONE]
    candidates = [np.array([FAR, FAR, A]), np.array([[0, 0, 100, 72]]), NONE]
    result = proposal_recall.curves(gt, candidates)
    assert result.num_proposals == (1, 2, 3) and result.num_gt == 2
    assert result.iou_thresholds == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
    low, high = [0.5] * 5 + [0] * 6, [1] * 5 + [0.5] * 6
    np.testing.assert_array_equal(result.recall, [low, low, high])
    np.testing.assert_allclose(result.average_recall, [0.25, 0.25, 0.75])


@pytest.mark.parametrize(
    ("most", "numbers"),
    [(1, (1,)), (2, (1, 2)), (20, (1, 2, 5, 10, 20)), (21, (1, 2, 5, 10, 20, 21))],
)
def test_curves_end_at_the_largest_number_of_proposals(most, numbers):
    assert proposal_recall.curves([NONE], [np.zeros((most, 4))]).num_proposals == numbers


def test_curves_without_anything():
    assert np.isnan(proposal_recall.curves([], []).recall).all()
    result = proposal_recall.curves([np.array([A])], [NONE])
    assert result.num_proposals == (1,) and (result.recall == 0).all()
    assert result.average_recall.tolist() == [0]

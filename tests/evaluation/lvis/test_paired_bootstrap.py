import dataclasses

import numpy as np
import pytest

from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth
from ltmm.evaluation.lvis.lvis_eval import LVISEvaluator
from ltmm.evaluation.lvis.paired_bootstrap import bootstrap_class_ap, paired_differences, resampled_images

CATEGORIES = np.array([7, 3, 9, 11])


def objects(num_images=12, seed=0):
    """Overlapping objects of three of four classes; some are ignored, some images are empty."""
    rng = np.random.default_rng(seed)
    num = 5 * num_images
    boxes = np.concatenate([rng.uniform(0, 60, (num, 2)), rng.uniform(10, 60, (num, 2))], 1)
    ids = np.arange(100, 100 + num_images)
    rng.shuffle(ids)
    crowds = np.zeros(num, bool)
    return GroundTruth(
        image_ids=ids,
        sizes=np.full((num_images, 2), 128),
        category_ids=CATEGORIES,
        images=rng.choice(ids[: num_images - 2], num),
        categories=rng.choice(CATEGORIES[:3], num),
        boxes=boxes,
        areas=boxes[:, 2] * boxes[:, 3],
        ignore=rng.random(num) < 0.1,
        crowds=crowds,
        masks=None,
        absent=np.stack([rng.choice(ids, 20), rng.choice(CATEGORIES, 20)], 1),
        not_exhaustive=np.stack([rng.choice(ids, 4), rng.choice(CATEGORIES, 4)], 1),
    )


def found_in(ground_truth, noise, seed=1):
    """Detections near the objects and anywhere, with ties of scores."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(len(ground_truth.images)), rng.integers(0, 3, len(ground_truth.images)))
    boxes = ground_truth.boxes[rows] * rng.normal(1, noise, (len(rows), 4))
    categories = np.where(rng.random(len(rows)) < 0.8, ground_truth.categories[rows], rng.choice(CATEGORIES, len(rows)))
    return Detections(ground_truth.images[rows], categories, rng.random(len(rows)).round(1), boxes)


def times(ground_truth, detections, weight):
    """The same data with image i as often as ``weight`` says."""
    offset = 1000 * np.arange(weight.max())
    weight_of = dict(zip(np.sort(ground_truth.image_ids).tolist(), weight.tolist()))

    def rows(images):
        repeats = np.array([weight_of[i] for i in images.tolist()], dtype=int)
        copies = np.concatenate([np.arange(n) for n in repeats]) if len(repeats) else repeats
        return np.repeat(np.arange(len(images)), repeats), copies.astype(int)

    def pairs(array):
        index, copy = rows(array[:, 0])
        return array[index] + np.stack([offset[copy], np.zeros_like(copy)], 1)

    keep, copy = rows(ground_truth.image_ids)
    objects, of_object = rows(ground_truth.images)
    fields = {
        name: getattr(ground_truth, name)[objects] for name in ('categories', 'boxes', 'areas', 'ignore', 'crowds')
    }
    many = dataclasses.replace(
        ground_truth,
        image_ids=ground_truth.image_ids[keep] + offset[copy],
        sizes=ground_truth.sizes[keep],
        images=ground_truth.images[objects] + offset[of_object],
        absent=pairs(ground_truth.absent),
        not_exhaustive=pairs(ground_truth.not_exhaustive),
        **fields,
    )
    index, copy = rows(detections.images)
    return many, Detections(
        detections.images[index] + offset[copy],
        detections.categories[index],
        detections.scores[index],
        detections.boxes[index],
    )


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('limit', [2, 300])
def test_all_images_once_give_the_ap_of_the_protocol(seed, limit):
    ground_truth = objects(seed=seed)
    evaluator = LVISEvaluator(ground_truth, found_in(ground_truth, 0.1), 'bbox')
    got = bootstrap_class_ap(evaluator, ground_truth, np.ones((1, 12), np.int32), limit)
    np.testing.assert_allclose(got[0], evaluator.best_per_image(limit).ap, atol=1e-12)
    assert np.isnan(got[0, 3]) and got[0, :3].min() > 0


def test_resampled_images_count_as_copies(monkeypatch):
    monkeypatch.setattr('ltmm.evaluation.lvis.paired_bootstrap.CHUNK', 100)  # in several parts
    ground_truth = objects(seed=4)
    detections = found_in(ground_truth, 0.1)
    detections = dataclasses.replace(  # without ties, whose order is that of the copies
        detections, scores=np.random.default_rng(0).permutation(len(detections.scores)).astype(float)
    )
    weights = resampled_images(12, 8)
    assert (weights.sum(1) == 12).all() and weights.max() > 1
    evaluator = LVISEvaluator(ground_truth, detections, 'bbox')
    for weight, got in zip(weights, bootstrap_class_ap(evaluator, ground_truth, weights)):
        expected = LVISEvaluator(*times(ground_truth, detections, weight), 'bbox').best_per_image().ap
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_class_that_is_drawn_nowhere():
    ground_truth = objects()
    evaluator = LVISEvaluator(ground_truth, found_in(ground_truth, 0.1), 'bbox')
    weight = np.zeros((1, 12), np.int32)
    assert np.isnan(bootstrap_class_ap(evaluator, ground_truth, weight)).all()


def test_intervals_of_better_equal_and_no_detections():
    ground_truth = objects(num_images=60)
    good, bad = (LVISEvaluator(ground_truth, found_in(ground_truth, noise), 'bbox') for noise in (0.02, 0.2))
    nothing = Detections(*(np.zeros(0, int),) * 2, np.zeros(0), np.zeros((0, 4)))
    nothing = LVISEvaluator(ground_truth, nothing, 'bbox')
    groups = dict(AP=np.ones(4, bool), first=CATEGORIES == 7, none=CATEGORIES == 11)
    found = paired_differences(good, bad, ground_truth, groups, num_resamples=200)
    assert found.keys() == {'AP', 'first'} and found['AP'].num_classes == 3
    assert found['AP'].a == pytest.approx(good.best_per_image().mean_ap(groups['AP']))
    assert found['AP'].b == pytest.approx(bad.best_per_image().mean_ap(groups['AP']))
    assert 0 < found['AP'].low < found['AP'].a - found['AP'].b < found['AP'].high
    width, width_of_one = (found[name].high - found[name].low for name in ('AP', 'first'))
    assert width < width_of_one  # fewer objects
    assert paired_differences(good, bad, ground_truth, groups, 200) == found  # the same seed
    same = paired_differences(good, good, ground_truth, groups, 50)['AP']
    assert same.low == same.high == 0
    assert paired_differences(nothing, good, ground_truth, groups, 50)['AP'].high < 0


def test_classes_without_objects_in_any_resample(monkeypatch):
    ground_truth = objects()
    evaluator = LVISEvaluator(ground_truth, found_in(ground_truth, 0.1), 'bbox')
    draws = np.zeros((3, 12), np.int32)
    monkeypatch.setattr('ltmm.evaluation.lvis.paired_bootstrap.resampled_images', lambda *args: draws)
    with pytest.raises(ValueError, match='AP: none of 3 resamples has an object of these classes'):
        paired_differences(evaluator, evaluator, ground_truth, dict(AP=np.ones(4, bool)), num_resamples=3)

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from toy_heads import CASES, COUNTS, C, build_other, found_by, logits, outputs_of

from ltmm import ClassDistribution
from ltmm.models.post_process import FRACAL, NorCal, fracal_logits, fractal_dimensions, frequency_weights
from ltmm.utils.errors import InputError

DIMENSIONS = [1.9, 1.5, 1.0, 1.2]
SOFTMAX = partial(torch.softmax, dim=1)
WEIGHT = torch.from_numpy(frequency_weights(np.array(COUNTS), sum(COUNTS)))
DIVISOR = torch.tensor(DIMENSIONS, dtype=torch.float64) ** 2


def fracal(**options):
    return FRACAL(**{'dimensions': DIMENSIONS, 'class_counts': COUNTS, **options})


def naive_dimension(points, max_grid=64):
    if len(points) < 4:
        return 1.0
    x, y = [], []
    for g in range(1, max_grid + 1):
        if g * g <= len(points):
            cells = {(int(a * g), int(b * g)) for a, b in points if 0 <= a < 1 and 0 <= b < 1}
            x.append(np.log(g))
            y.append(np.log(len(cells)))
    return max(1.0, np.polyfit(x, y, 1)[0])


def test_dimensions_by_counting_cells():
    rng = np.random.default_rng(0)
    points = [rng.random((n, 2)) for n in (3, 4, 50, 400, 5000)]
    points += [np.stack([t := rng.random(900), t], 1), np.full((100, 2), 0.3)]  # a diagonal, a point
    points[3][0] = 1.0, 0.5  # in no cell
    label = np.repeat(np.arange(len(points)), [len(p) for p in points])
    found = fractal_dimensions(np.concatenate(points), label, len(points) + 1)
    np.testing.assert_allclose(found, [*map(naive_dimension, points), 1])
    assert found[0] == found[-1] == found[-2] == 1  # few, none, one place
    assert found[4] > 1.8 and abs(found[5] - 1) < 0.05


def test_dimensions_of_nothing():
    np.testing.assert_array_equal(fractal_dimensions(np.zeros((0, 2)), np.zeros(0, int), 3), 1)


def test_weight_of_aerosol_can_in_lvis():
    weight = frequency_weights(np.array([64, 0] + [1] * 1201), 100170)
    assert weight[0] == pytest.approx(0.114292, abs=1e-6)
    assert weight[1] == weight[2]  # 0 counts as 1


def test_softmax_scores_are_shifted_divided_and_normalized():
    score = logits(C + 1)
    shifted = torch.cat([score[:, :C] + WEIGHT, score[:, C:]], 1).softmax(1)
    divided = shifted / torch.cat([DIVISOR, torch.ones(1)])
    torch.testing.assert_close(fracal()(score, SOFTMAX), divided / divided.sum(1, keepdim=True))


def test_sigmoid_scores_are_products():
    score = logits(C)
    factor = -(DIVISOR / DIVISOR.sum()).log10() - np.log10(C)
    expected = score.sigmoid() * (score + WEIGHT + factor).sigmoid()
    torch.testing.assert_close(fracal()(score, torch.sigmoid, uses_sigmoid=True), expected)
    large = fracal_logits(torch.tensor([[-1e4, 1e4, 0.0, 50.0]]), WEIGHT, DIVISOR, True)
    assert large.isfinite().all()
    assert fracal().correct_logits(score.bfloat16(), True).dtype == torch.bfloat16


@pytest.mark.parametrize('uses_sigmoid', [True, False])
def test_rare_classes_and_narrow_layouts_gain(uses_sigmoid):
    zero = torch.zeros(1, C + (not uses_sigmoid))
    activation = torch.sigmoid if uses_sigmoid else SOFTMAX
    scores = fracal(dimensions=[1.0] * C)(zero, activation, uses_sigmoid)
    assert scores[0, :C].diff().min() > 0
    scores = fracal(dimensions=[1.9, 1.6, 1.3, 1.0], class_counts=[7] * C)(zero, activation, uses_sigmoid)
    assert scores[0, :C].diff().min() > 0
    scores = fracal(class_counts=[9, 9, 9, 0])(zero, activation, uses_sigmoid)
    assert scores.isfinite().all()


@pytest.mark.parametrize('case', ['retina', 'retina_softmax', 'atss', 'ltmm_deformable', 'dino', 'detr'])
def test_heads_predict_by_their_kind_of_scores(case):
    cfg = CASES[case][:3]
    head, folded, step = build_other(*cfg), build_other(*cfg), fracal()
    uses_sigmoid = 'softmax' not in case and case != 'detr'
    outputs = outputs_of(head)
    cls_scores, *others = outputs
    if isinstance(cls_scores, torch.Tensor):
        corrected = fracal_logits(cls_scores, WEIGHT, DIVISOR, uses_sigmoid)
    else:
        width = head.cls_out_channels
        corrected = [
            torch.cat(
                [fracal_logits(x.movedim(1, -1), WEIGHT, DIVISOR, uses_sigmoid) for x in level.split(width, 1)], -1
            )
            for level in cls_scores
        ]
        corrected = [level.movedim(-1, 1) for level in corrected]
    plain, expected = found_by(head, outputs), found_by(head, (corrected, *others))
    step.attach(head)
    for got, right in zip(found_by(head, outputs), expected):
        torch.testing.assert_close(got, right)
    assert not torch.allclose(plain[0], expected[0])
    assert step.write(folded) == (not uses_sigmoid)
    if not uses_sigmoid:
        torch.testing.assert_close(found_by(folded, outputs_of(folded))[0], expected[0])
    head.train()
    torch.testing.assert_close(found_by(head, outputs)[0], plain[0])
    with pytest.raises(InputError, match='calibrated already'):
        NorCal(class_counts=COUNTS).attach(head)


class Train:
    def __init__(self, centers, label):
        self.boxes = centers, label

    def box_centers(self):
        return self.boxes


def test_fit_takes_layouts_and_searches_only_on_demand():
    rng = np.random.default_rng(0)
    centers, label = rng.random((400, 2)), rng.integers(0, 3, 400)
    step = FRACAL(class_counts=np.bincount(label, minlength=C).tolist())
    with pytest.raises(InputError, match='FRACAL needs `dimensions`'):
        step.correct_logits(logits(C + 1), False)
    assert step.needs_fit
    step.fit(Train(centers, label), None)
    np.testing.assert_allclose(step.settings()['dimensions'], fractal_dimensions(centers, label, C))
    assert not step.needs_fit and step.fractal_weight == 2
    assert repr(step) == 'FRACAL(fractal_weight=2)' or 'dimensions' not in step.extra_repr()

    class Val:
        def evaluate(self, step, strengths):
            return [-abs(strength - 1) for strength in strengths]

    step.grid = (0, 2, 5)
    step.fit(None, Val())
    assert step.fractal_weight == 1


def test_boxes_of_other_data_are_named():
    label = np.array([0, 0, 1])
    data, none = Train(np.full((3, 2), 0.5), label), [0] * (C - 2)
    counts = dict(instance_counts=[2, 5, *none], image_counts=[2, 4, *none], num_images=6)
    with pytest.warns(UserWarning, match='has 1 boxes of class 1, .* say 5 .1 classes differ.*train_dataloader to'):
        FRACAL(class_counts=counts).fit(data, None)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        FRACAL(class_counts=[2, 5, *none]).fit(data, None)  # images, not boxes
    assert all('train_dataloader' not in str(warning.message) for warning in found)
    with pytest.raises(InputError, match=f'boxes of class {C}, but the class counts are of {C} classes'):
        FRACAL(class_counts=counts).fit(Train(np.full((1, 2), 0.5), np.array([C])), None)


def test_wrong_number_of_classes():
    with pytest.raises(InputError, match='`dimensions` of 4 classes, but got 3'):
        fracal(dimensions=[1.0] * 3).correct_logits(logits(C + 1), False)
    with pytest.raises(InputError, match='logits of 4 classes.* but got 8'):
        fracal().correct_logits(logits(8), False)


def test_images_are_counted_not_instances():
    step = FRACAL(dimensions=[1.0, 1.0])
    step.set_class_distribution(ClassDistribution([100, 100], image_counts=[100, 10], num_images=100))
    assert step.correct_logits(torch.zeros(1, 3), False)[0].diff()[0] == pytest.approx(1.0)

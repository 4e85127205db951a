from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Normal
from toy_ranks import on_ranks

from ltmm.engine.post_process import SplitOutputs
from ltmm.engine.runner.model_outputs import ModelOutputs
from ltmm.models.heads import LongTailClsHead
from ltmm.models.post_process import ImportanceWeightedTemperatureScaling as IWTS
from ltmm.models.post_process import fit_temperature
from ltmm.utils.errors import MissingInputError

COUNTS = [300, 200, 20, 5]


@pytest.fixture
def train(make_split):
    return make_split(COUNTS)


@pytest.fixture
def val(make_split):
    return make_split([30, 20, 4, 3], seed=1)


def test_weights_one_by_one(train, val):
    weight = IWTS(alpha=0.6, clip=(0.01, 100), class_counts=COUNTS).weights(train, val)
    mean, std = train.class_means(), train.class_variances().sqrt()
    for f, y, w in zip(val.features.double(), val.label, weight):
        if y < 2:
            assert w == 1
            continue
        distance = [((mean[y] - mean[j]) ** 2 + (std[y] - std[j]) ** 2).sum() for j in (0, 1)]
        a = torch.softmax(-torch.stack(distance) / 6**0.5, 0)
        m, s = (0.4 * (a[0] * x[0] + a[1] * x[1]) + 0.6 * x[y] for x in (mean, std))
        ratio = (Normal(m, s).log_prob(f) - Normal(mean[y], std[y]).log_prob(f)).sum().exp()
        assert w == pytest.approx(float(ratio.clamp(0.01, 100)), rel=1e-6)
    assert weight[val.label > 1].std() > 0.01


@pytest.mark.parametrize('options', [dict(alpha=1), dict(head_classes=4), dict(head_classes=[0, 1, 2, 3])], ids=str)
def test_is_plain_scaling_without_transfer(train, val, options):
    step = IWTS(**options, class_counts=COUNTS)
    step.fit(train, val)
    assert step.temperature == pytest.approx(fit_temperature(val.logits, val.label), rel=1e-6)


@pytest.mark.parametrize(
    ('head_classes', 'expected'),
    [('many', [1, 1, 0, 0]), (1, [1, 0, 0, 0]), (3, [1, 1, 1, 0]), ([3, 1], [0, 1, 0, 1]), ([0], [1, 0, 0, 0])],
)
def test_frequent_classes(head_classes, expected):
    step = IWTS(head_classes, class_counts=COUNTS)
    assert step.frequent_classes().tolist() == [bool(x) for x in expected]


def test_hard_cases_stay_finite(make_split, val):
    train = make_split([300, 200, 0, 1])  # no image, and one: variance 0
    train.features[:, 3] = 0  # a dead ReLU
    val.features[:, 2] *= 1e4  # far out
    step = IWTS(class_counts=[300, 200, 0, 1])
    weight = step.weights(train, val)
    assert (weight[val.label == 2] == 1).all()  # without training images
    assert ((weight >= 0.3) & (weight <= 5)).all()
    step.fit(train, make_split([9, 0, 0, 3], seed=2))  # classes without validation images
    assert 0.05 < step.temperature < 5


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(class_counts=[90, 50, 20, 5]), 'more than 100 training images.*Give `head_classes`'),
        (dict(head_classes=[4], class_counts=COUNTS), r'`head_classes` of 4 classes, but got \[4\]'),
        (dict(head_classes=5, class_counts=COUNTS), '`head_classes` of 4 classes, but got 5'),
        (dict(head_classes=[2], class_counts=[9, 9, 0, 9]), '`head_classes` with training images'),
    ],
    ids=str,
)
def test_no_frequent_classes(options, message):
    with pytest.raises(ValueError, match=message):
        IWTS(**options).frequent_classes()


def test_fitted_correction_is_written_and_built_again(train, val, head, features):
    step = IWTS(class_counts=COUNTS)
    assert step.needs_fit
    with pytest.raises(MissingInputError, match='is not fitted'):
        step(val.logits, val.features, head)
    step.fit(train, val)
    again = IWTS(**step.settings())
    assert not again.needs_fit and again.temperature == step.temperature
    expected = head.fc(features) / step.temperature
    assert step.write(head)
    torch.testing.assert_close(head.fc(features), expected)


def test_sigmoids_are_refused():
    head = LongTailClsHead(4, 6, loss=dict(type='ltmm.SigmoidFocalLoss', gamma=2))
    with pytest.raises(TypeError, match='uses sigmoids'):
        IWTS().check(head)


def test_two_ranks_fit_the_temperature_of_one_process(train, val, tmp_path):
    one = IWTS(alpha=0.6, class_counts=COUNTS)
    one.fit(train, val)

    def fit(rank):
        own = ModelOutputs(train.features[rank::2], None, train.label[rank::2])
        step = IWTS(alpha=0.6, class_counts=COUNTS)
        step.fit(SplitOutputs(lambda _: own, SimpleNamespace(num_classes=4)), val)
        return step.temperature

    assert on_ranks(fit, tmp_path) == pytest.approx([one.temperature] * 2, rel=1e-9)
    assert one.temperature != pytest.approx(fit_temperature(val.logits, val.label), rel=1e-3)

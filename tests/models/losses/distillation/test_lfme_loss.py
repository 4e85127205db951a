import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from ltmm.models.losses import LFMELoss, LossInputs
from ltmm.models.losses.distillation.lfme_loss import curriculum_weights, expert_weights, scheduled_weights
from ltmm.models.state import TrainFeatures
from ltmm.utils.errors import InputError, MissingInputError

COUNTS = [20, 120, 60, 4, 100, 21]
GROUPS = dict(many=[1, 4], medium=[2, 5], few=[0, 3])
LABEL = torch.tensor([0, 1, 2, 3, 4, 5, 1, 4])
FIGURES = {
    'long_tail/many': 30.0,
    'long_tail/medium': 40.0,
    'long_tail/few': 50.0,
    'teacher/many': 60.0,
    'teacher/medium': 80.0,
    'teacher/few': 40.0,
}


def lfme(epoch: int = 0, dtype: torch.dtype = torch.float64, **options) -> LFMELoss:
    """A loss that has seen a training set of two images per label."""
    loss = LFMELoss(**{'class_counts': COUNTS, **options})
    loss.set_progress(epoch, 20)
    label = torch.cat([LABEL, LABEL])
    logits = torch.randn(len(label), len(COUNTS), dtype=dtype, generator=torch.Generator().manual_seed(0))
    loss.on_train_features(TrainFeatures(None, None, label, torch.arange(len(label)), logits))
    return loss


def inputs(dtype: torch.dtype = torch.float64, label: Tensor = LABEL) -> LossInputs:
    score, teacher = torch.randn(2, len(LABEL), len(COUNTS), generator=torch.Generator().manual_seed(1)).to(dtype)
    return LossInputs(label, score.requires_grad_(), sample_idx=torch.arange(len(LABEL)), teacher_logits=teacher)


def naive(loss: LFMELoss, batch: LossInputs, weights: dict[str, float]) -> dict[str, Tensor]:
    """The formula, image by image."""
    terms = dict.fromkeys(['loss_cls', 'loss_many', 'loss_medium', 'loss_few'], 0)
    for i, (z, t) in enumerate(zip(batch.cls_score, batch.teacher_logits)):
        w = loss.curriculum.values[i]
        z = z * ((1 - w) / (20 / 2) * (loss.epoch + 1) + w)
        terms['loss_cls'] = terms['loss_cls'] + F.cross_entropy(z, batch.label[i]) / len(LABEL)
        for group, classes in GROUPS.items():
            p, log_q = (t[classes] / 2).softmax(0), (z[classes] / 2).log_softmax(0)
            terms[f'loss_{group}'] = terms[f'loss_{group}'] + weights[group] * (p * (p.log() - log_q)).sum() / len(
                LABEL
            )
    return terms


@pytest.mark.parametrize('epoch', [0, 15])
def test_formula(epoch):
    loss, batch = lfme(epoch), inputs()
    torch.testing.assert_close(loss(batch), naive(loss, batch, dict(many=1, medium=1, few=1)))
    loss.on_metrics(FIGURES)
    # (60 - 30) / 60 / 0.7, (80 - 40) / 80 / 0.7, caught up
    torch.testing.assert_close(loss(batch), naive(loss, batch, dict(many=0.5 / 0.7, medium=0.5 / 0.7, few=0)))


def test_weight_of_an_expert():
    student, expert = torch.tensor([0.0, 0.17, 0.19, 0.4, 0.7, 0.0]), torch.tensor([0.6, 0.6, 0.6, 0.6, 0.6, 0.0])
    expected = torch.tensor([1, 1, (0.6 - 0.19) / 0.6 / 0.7, (0.6 - 0.4) / 0.6 / 0.7, 0, 0])
    torch.testing.assert_close(expert_weights(student, expert, 0.3), expected)


def test_curriculum_of_each_class():
    confidence, label = torch.tensor([0.2, 0.9, 0.6, 0.3, 0.5, 0.5]), torch.tensor([0, 0, 1, 0, 2, 2])
    weights = curriculum_weights(confidence, label, torch.tensor([0.1, 0.1, 0.1, 0.1]))
    expected = torch.tensor([0.1, 1.0, 1.0, 0.1 + 0.9 / 7, 1.0, 1.0])  # class 1: one image, class 2: all equal
    torch.testing.assert_close(weights, expected)


def test_factor_passes_1_at_half_of_the_training():
    weight = torch.tensor([0.2, 1.0])
    for epoch, factor in ((0, 0.2), (10, 1.0), (20, 1.8)):
        torch.testing.assert_close(scheduled_weights(weight, epoch, 20), torch.tensor([factor, 1.0]))


def test_confidence_of_the_expert_of_the_true_class():
    loss, logits = lfme(), torch.randn(8, 6)
    loss.curriculum.resize(0)
    assert loss.needs_train_features(3)
    sample_idx = torch.tensor([9, 1, 2, 3, 4, 5, 6, 7])
    loss.on_train_features(TrainFeatures(None, None, LABEL, sample_idx, logits))
    assert not loss.needs_train_features(0)
    first, second = (logits[i, GROUPS['many']].softmax(0)[0] for i in (1, 6))  # both images of class 1
    weights = loss.curriculum.values
    assert weights[[1, 6]].tolist() == pytest.approx([1, 12 / 230][:: 1 if first > second else -1])
    assert (weights[[0, 2, 3, 5, 8, 9]] == 1).all() and len(weights) == 10  # few-shot, single or absent images


def test_split_and_join():
    loss, logits = lfme(), torch.randn(3, 6)
    parts = loss.split(logits)
    for group, classes in GROUPS.items():
        torch.testing.assert_close(parts[group], logits[:, classes], rtol=0, atol=0)
    torch.testing.assert_close(loss.join(dict(reversed(parts.items()))), logits, rtol=0, atol=0)
    with pytest.raises(InputError, match=r"experts of \{'many': 2, .*thresholds=\(100, 20\), but got \{'many': 3"):
        loss.join(parts | dict(many=torch.zeros(3, 3)))
    with pytest.raises(InputError, match="but got {'many': 2}"):
        loss.join(dict(many=parts['many']))


def test_logits_of_the_expert_of_the_true_class():
    logits = torch.arange(12.0).view(2, 6)
    own = lfme().own_logits(logits, torch.tensor([1, 3]))
    inf = torch.inf
    assert own.tolist() == [[-inf, 1, -inf, -inf, 4, -inf], [6, -inf, -inf, 9, -inf, -inf]]


def test_group_without_classes():
    loss = LFMELoss(class_counts=[200, 150, 30])
    assert loss.group_sizes == dict(many=2, medium=1)
    loss.on_metrics({name: value for name, value in FIGURES.items() if 'few' not in name})
    assert loss.expert_weight[2] == 1


def test_class_without_images():
    """It has no expert's confidence, and is few-shot."""
    loss = lfme(class_counts=[20, 120, 60, 4, 100, 0])
    batch = inputs(label=LABEL.clamp(max=4))
    sum(loss(batch).values()).backward()
    assert batch.cls_score.grad.isfinite().all()


def test_state_is_saved():
    loss, fresh, batch = lfme(7), LFMELoss(), inputs()
    loss.on_metrics(FIGURES)
    fresh.load_state_dict(loss.state_dict())
    fresh.set_progress(7, 20)
    torch.testing.assert_close(fresh(batch), loss(batch), rtol=0, atol=0)
    assert not fresh.needs_train_features(0)


def test_large_logits_and_half_precision():
    loss, batch = lfme(dtype=torch.float32), inputs(torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        terms = loss(batch)
    assert all(term.dtype == torch.float32 for term in terms.values())
    score = (1e4 * batch.cls_score.detach().float()).requires_grad_()
    total = sum(
        loss(LossInputs(LABEL, score, sample_idx=batch.sample_idx, teacher_logits=-1e4 * score.detach())).values()
    )
    total.backward()
    assert total.isfinite() and score.grad.isfinite().all()


def test_no_synchronization():
    loss = lfme(dtype=torch.float32)
    with FakeTensorMode(allow_non_fake_inputs=True):
        score = torch.rand(8, 6, requires_grad=True)
        sum(
            loss(LossInputs(LABEL, score, sample_idx=torch.arange(8), teacher_logits=torch.rand(8, 6))).values()
        ).backward()


@pytest.mark.parametrize(
    'options',
    [dict(lowest_weights=0.5), dict(lowest_weights=(0.5, 1.0)), dict(thresholds=(100,)), dict(thresholds=100)],
)
def test_wrong_number_of_values(options):
    with pytest.raises(InputError, match=f'`{next(iter(options))}`'):
        LFMELoss(**options)


def test_missing_inputs():
    loss = lfme()
    with pytest.raises(MissingInputError, match=r"\['teacher/few'\].*TeacherMetric.*images of all groups"):
        loss.on_metrics({name: value for name, value in FIGURES.items() if name != 'teacher/few'})
    loss.curriculum.resize(0)
    with pytest.raises(MissingInputError, match='confidence of the experts.*TrainFeaturesHook'):
        loss(inputs())
    with pytest.raises(InputError, match='`teacher_logits`'):
        loss(LossInputs(LABEL, torch.zeros(8, 6), sample_idx=torch.arange(8)))
    with pytest.raises(InputError, match='soft labels'):
        lfme()(inputs(label=torch.ones(8, 6) / 6))

import pytest
import torch
from toy_heads import COUNTS, LOSSES, C, build_box_head, logits, scores_of

from ltmm.models.post_process import FRACAL, LogN, NorCal
from ltmm.models.post_process.detector_correction import Corrected, scores_by_sigmoid

CASES = [pytest.param(kind, loss, id=f'{loss["type"]}-{kind}') for kind in LOSSES for loss in LOSSES[kind]]


def build(loss):
    return build_box_head(None, type='ltmm.Shared2FCBBoxHead', loss_cls=loss)


def corrections():
    return [NorCal(class_counts=COUNTS), FRACAL(dimensions=[1.8, 1.5, 1.0, 1.2], class_counts=COUNTS)]


@pytest.mark.parametrize(('kind', 'loss'), CASES)
def test_formula_is_that_of_the_scores(kind, loss):
    assert scores_by_sigmoid(build(loss)) is {'sigmoid': True, 'softmax': False, 'other': None}[kind]
    for step in corrections():
        head = build(loss)
        if kind == 'other':
            with pytest.raises(TypeError, match=r"one sigmoid per class, but .* use ltmm.NorCal\(on='probs'"):
                step.attach(head)
            continue
        cls_score = logits(head.fc_cls.out_features, torch.float32)
        expected = head.loss_cls.get_activation(step.correct_logits(cls_score, kind == 'sigmoid'))
        step.attach(head)
        torch.testing.assert_close(head.loss_cls.get_activation(cls_score), expected)


@pytest.mark.parametrize(('kind', 'loss'), CASES)
def test_norcal_divides_any_scores(kind, loss):
    head, step = build(loss), NorCal(gamma=1.0, on='probs', renorm=False, class_counts=COUNTS)
    cls_score = logits(head.fc_cls.out_features, torch.float32)
    plain = scores_of(head, cls_score)
    step.attach(head)
    divisor = torch.tensor([*COUNTS, 1.0])
    torch.testing.assert_close(scores_of(head, cls_score), plain / divisor[: plain.size(1)])


def test_of_a_cascade_the_mean_of_the_stages_is_corrected_unless_each_is(monkeypatch):
    for step, expected in ((corrections()[0], [False, True]), (LogN([0.0] * C, [2.0] * C), [True, True])):
        heads = {str(stage): build(dict(type='ltmm.EQLv2Loss')) for stage in range(2)}
        monkeypatch.setattr(step, 'heads', lambda model, heads=heads: heads)
        step.attach_to(None)
        is_corrected = [any(isinstance(x, Corrected) for x in (head, head.loss_cls)) for head in heads.values()]
        assert is_corrected == expected


def test_logn_takes_gumbel_activations():
    head, step = build(dict(type='ltmm.GumbelCrossEntropyLoss')), LogN([0.0] * C, [2.0] * C)
    x = torch.randn(5, 4, 2, 2)
    plain = head(x)[0]
    step.attach(head)
    torch.testing.assert_close(head(x)[0], torch.cat([plain[:, :C] / 2, plain[:, C:]], 1))

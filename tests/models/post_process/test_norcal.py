from functools import partial

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn
from toy_heads import (
    CASES,
    COUNTS,
    FOCAL,
    HEADS,
    C,
    build_box_head,
    build_other,
    found_by,
    logits,
    outputs_of,
    scores_of,
)

from ltmm import ClassDistribution
from ltmm.models.post_process import NorCal, norcal_divisor
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

SOFTMAX = partial(torch.softmax, dim=1)
DIVISOR = torch.tensor(COUNTS, dtype=torch.float64) ** 0.6


def calibrated(score, activation=SOFTMAX, **options):
    return NorCal(class_counts=COUNTS, **options)(score, activation)


@pytest.mark.parametrize('on', ['exps', 'probs'])
def test_softmax_scores_are_divided_and_normalized(on):
    score = logits(C + 1)
    factor = 1 / torch.cat([DIVISOR, torch.ones(1)])
    for unnormalised in (score.exp() * factor, score.softmax(1) * factor):  # the same
        expected = unnormalised / unnormalised.sum(1, keepdim=True)
        torch.testing.assert_close(calibrated(score, on=on), expected)


@pytest.mark.parametrize('on', ['exps', 'probs'])
def test_without_normalization_probabilities_are_divided_and_background_stays(on):
    score = logits(C + 1)
    scores, plain = calibrated(score, on=on, renorm=False), score.softmax(1)
    torch.testing.assert_close(scores[:, :C], plain[:, :C] / DIVISOR)
    torch.testing.assert_close(scores[:, C], plain[:, C])


def test_sigmoid_scores_are_divided_in_their_odds():
    score = logits(C)
    loss = MODELS.build(dict(type='ltmm.EQLLoss', lambda_=0.1, class_counts=COUNTS))
    scores, p = calibrated(score, loss.get_activation), score.sigmoid()
    torch.testing.assert_close(scores[:, :C], (p / DIVISOR) / (p / DIVISOR + 1 - p))
    assert (scores[:, C] == 0).all()


def test_logits_are_divided_before_the_softmax():
    score = logits(C + 1)
    expected = torch.cat([score[:, :C] / DIVISOR, score[:, C:]], dim=1).softmax(1)
    torch.testing.assert_close(calibrated(score, on='logits'), expected)


def test_effective_numbers_and_empty_classes():
    np.testing.assert_allclose(norcal_divisor(np.array([3, 1, 0]), 0.9, 'effective_number'), [1 + 0.9 + 0.81, 1, 1])
    np.testing.assert_allclose(norcal_divisor(np.array([4, 1, 0]), 0.5, 'power'), [2, 1, 1])


@pytest.mark.parametrize('options', [dict(), dict(factor='effective_number'), dict(renorm=False), dict(on='logits')])
def test_strength_zero_and_equal_counts_keep_the_order(options):
    score = logits(C + 1)
    torch.testing.assert_close(calibrated(score, gamma=0, **options), score.softmax(1))
    if options.get('on') != 'logits':
        scores = NorCal(0.5, class_counts=[7] * C, **options)(score, SOFTMAX)
        assert torch.equal(scores[:, :C].argmax(1), score[:, :C].argmax(1))


def test_the_tail_gains_and_large_logits_stay_finite():
    score = torch.zeros(1, C + 1)
    assert calibrated(score)[0, :C].diff().min() > 0
    for score in (torch.tensor([[1e4, -1e4, 0, 1e4, 3e4]]), torch.randn(2, C + 1).bfloat16()):
        assert calibrated(score).isfinite().all()


def test_images_are_counted_not_instances():
    counts = ClassDistribution([100, 100], image_counts=[100, 10], num_images=100)
    step = NorCal(1.0)
    step.set_class_distribution(counts)
    scores = step(torch.zeros(1, 3), SOFTMAX)[0]
    torch.testing.assert_close(scores[1] / scores[0], torch.tensor(10.0))


@pytest.mark.parametrize('loss', HEADS)
def test_box_head_predicts_calibrated_scores_and_trains_as_before(loss):
    head, step = build_box_head(loss), NorCal(class_counts=COUNTS)
    cls_score = logits(head.fc_cls.out_features, torch.float32)
    plain = scores_of(head, cls_score)
    shift = torch.cat([DIVISOR.log().float(), torch.zeros(head.fc_cls.out_features - C)])
    expected = scores_of(head, cls_score - shift)
    step.check(head)
    step.attach(head)
    torch.testing.assert_close(scores_of(head, cls_score), expected)
    assert not torch.allclose(plain, expected)
    head.train()
    torch.testing.assert_close(scores_of(head, cls_score), plain)


@pytest.mark.parametrize('loss', HEADS)
@pytest.mark.parametrize('on', ['exps', 'probs'])
def test_written_into_the_bias(loss, on):
    head, step, x = build_box_head(loss), NorCal(on=on, class_counts=COUNTS), torch.randn(5, 4, 2, 2)
    folded = build_box_head(loss)
    folded.load_state_dict(head.state_dict())
    step.attach(head)
    assert step.write(folded)
    torch.testing.assert_close(scores_of(folded, folded(x)[0]), scores_of(head, head(x)[0]))


@pytest.mark.parametrize('case', CASES)
def test_other_heads_predict_calibrated_scores_and_train_as_before(case):
    head, step = build_other(*CASES[case][:3]), NorCal(class_counts=COUNTS)
    logits, *others = outputs = outputs_of(head)
    shift = torch.cat([DIVISOR.log().float(), torch.zeros(head.cls_out_channels - C)])
    if isinstance(logits, torch.Tensor):
        shifted = logits - shift
    else:  # levels (1, A x width, H, W), classes fastest
        shifted = [level - shift.repeat(level.size(1) // len(shift)).view(-1, 1, 1) for level in logits]
    plain, expected = found_by(head, outputs), found_by(head, (shifted, *others))
    step.check(head)
    step.attach(head)
    for got, right in zip(found_by(head, outputs), expected):
        torch.testing.assert_close(got, right)
    assert not torch.allclose(plain[0], expected[0])
    head.train()
    torch.testing.assert_close(found_by(head, outputs)[0], plain[0])


@pytest.mark.parametrize('case', CASES)
def test_written_into_the_classifier_used_at_test(case):
    *cfg, layer = CASES[case]
    head, folded, step = build_other(*cfg), build_other(*cfg), NorCal(class_counts=COUNTS)
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    assert step.write(folded) == (layer is not None)
    changed = {name for name, value in folded.state_dict().items() if not torch.equal(value, before[name])}
    if layer is None:
        assert not changed
        return
    shared = {'cls_branches.0.bias'} if case == 'ltmm_deformable' else set()
    assert changed - shared == {f'{layer}.bias'}
    step.attach(head)
    for got, expected in zip(found_by(folded, outputs_of(folded)), found_by(head, outputs_of(head))):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    'cfg, name',
    [
        (dict(type='mmdet.GFLHead', num_classes=C, in_channels=4, feat_channels=4, stacked_convs=1), 'GFLHead'),
        (dict(type='mmdet.YOLOXHead', num_classes=C, in_channels=4, feat_channels=4), 'YOLOXHead'),
        (dict(type='mmdet.SABLHead', num_classes=C), 'SABLHead'),
        (dict(type='mmdet.DIIHead', num_classes=C, loss_cls=FOCAL), 'DIIHead'),
    ],
)
def test_heads_with_own_scores_are_refused(cfg, name):
    pytest.importorskip('mmcv.ops')
    if name == 'GFLHead':
        cfg['anchor_generator'] = dict(
            type='AnchorGenerator', octave_base_scale=8, scales_per_octave=1, ratios=[1.0], strides=[8]
        )
        cfg['norm_cfg'] = dict(type='BN')
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(cfg)
    with pytest.raises(TypeError, match=f'leaves the scores to .* but got {name}'):
        NorCal(class_counts=COUNTS).check(head)


def test_unnormalized_scores_are_for_box_heads_only():
    step = NorCal(renorm=False, class_counts=COUNTS)
    step.check(build_box_head('softmax'))
    with pytest.raises(TypeError, match=r'NorCal\(renorm=False\) calibrates box heads only, but got RetinaHead'):
        step.check(build_other(*CASES['retina'][:3]))


@pytest.mark.parametrize('kind', ['box', 'retina'])
def test_calibrating_twice_is_refused(kind):
    head = build_box_head('softmax') if kind == 'box' else build_other(*CASES['retina'][:3])
    NorCal(class_counts=COUNTS).attach(head)
    with pytest.raises(InputError, match='calibrated already'):
        NorCal(class_counts=COUNTS).attach(head)


def test_wrong_number_of_classes_of_a_dense_head():
    head = build_other(*CASES['retina'][:3])
    NorCal(class_counts=COUNTS[:2] * 4).attach(head)
    with pytest.raises(ValueError, match='logits of 8 classes.* but got 4'):
        found_by(head, outputs_of(head))


def test_what_is_no_shift_of_the_bias_cannot_be_written():
    head = build_box_head('softmax')
    assert not NorCal(on='logits', class_counts=COUNTS).write(head)
    assert not NorCal(renorm=False, class_counts=COUNTS).write(head)
    assert not NorCal(class_counts=COUNTS).write(build_box_head('softmax', cls_predictor_cfg=dict(type='NormedLinear')))


def test_other_heads_are_refused(head):
    step = NorCal(class_counts=COUNTS)
    for other in (head, nn.Linear(1, 1)):
        with pytest.raises(TypeError, match='leaves the scores to .* but got LinearC?l?s?H?e?a?d?'):
            step.check(other)


def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match='logits of 4 classes.* but got 8'):
        calibrated(logits(8))
    with pytest.raises(RuntimeError, match=r'NorCal needs the class distribution.*class_counts=\[...\]'):
        NorCal()(logits(5), SOFTMAX)

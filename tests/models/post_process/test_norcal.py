from functools import partial

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from ltmm import ClassDistribution
from ltmm.models.post_process import NorCal, norcal_divisor
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

COUNTS = [500, 60, 20, 3]
C = len(COUNTS)
SOFTMAX = partial(torch.softmax, dim=1)
DIVISOR = torch.tensor(COUNTS, dtype=torch.float64) ** 0.6


def calibrated(score, activation=SOFTMAX, **options):
    return NorCal(class_counts=COUNTS, **options)(score, activation)


def logits(width, dtype=torch.float64):
    return 3 * torch.randn(6, width, generator=torch.Generator().manual_seed(0), dtype=dtype)


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


HEADS = {
    'softmax': dict(type='CrossEntropyLoss'),
    'sigmoid': dict(type='ltmm.EQLLoss', lambda_=0.1, class_counts=COUNTS),
    'seesaw': dict(type='SeesawLoss', num_classes=C),
}


@pytest.fixture
def make_head():
    pytest.importorskip('mmcv.ops')

    def make(loss, **options):
        cfg = dict(type='mmdet.Shared2FCBBoxHead', in_channels=4, fc_out_channels=8, roi_feat_size=2, num_classes=C)
        with DefaultScope.overwrite_default_scope('mmdet'):
            head = MODELS.build({**cfg, 'loss_cls': HEADS[loss], **options})
        head.fc_cls.weight.data.normal_()
        return head.eval()

    return make


def scores_of(head, cls_score):
    """Scores that mmdet's head passes to NMS."""
    num = len(cls_score)
    meta = dict(img_shape=(10, 10), scale_factor=(1.0, 1.0))
    (found,) = head.predict_by_feat((torch.rand(num, 5),), (cls_score,), (torch.zeros(num, 4 * C),), [meta], None)
    return found.scores


@pytest.mark.parametrize('loss', HEADS)
def test_box_head_predicts_calibrated_scores_and_trains_as_before(make_head, loss):
    head, step = make_head(loss), NorCal(class_counts=COUNTS)
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
def test_written_into_the_bias(make_head, loss, on):
    head, step, x = make_head(loss), NorCal(on=on, class_counts=COUNTS), torch.randn(5, 4, 2, 2)
    folded = make_head(loss)
    folded.load_state_dict(head.state_dict())
    step.attach(head)
    assert step.write(folded)
    torch.testing.assert_close(scores_of(folded, folded(x)[0]), scores_of(head, head(x)[0]))


# ------------------------------------------------------------------ one-stage and DETR heads

META = dict(img_shape=(64, 64), scale_factor=(1.0, 1.0))
EQL = dict(type='ltmm.EQLLoss', lambda_=0.1, class_counts=COUNTS)
FOCAL = dict(type='FocalLoss', use_sigmoid=True)
SOFTMAX_LOSS = dict(type='CrossEntropyLoss')
TWO_STAGES = dict(as_two_stage=True, num_pred_layer=3)
CASES = {  # type, loss and options of the head; name of the layer that a fold changes
    'ltmm_retina': ('ltmm.RetinaHead', EQL, {}, 'retina_cls'),
    'ltmm_atss': ('ltmm.ATSSHead', EQL, {}, 'atss_cls'),
    'retina': ('mmdet.RetinaHead', FOCAL, {}, 'retina_cls'),
    'retina_softmax': ('mmdet.RetinaHead', SOFTMAX_LOSS, {}, 'retina_cls'),
    'atss': ('mmdet.ATSSHead', FOCAL, {}, 'atss_cls'),
    'fcos': ('mmdet.FCOSHead', FOCAL, {}, None),
    'ltmm_deformable': (
        'ltmm.DeformableDETRHead',
        EQL,
        dict(share_pred_layer=True, num_pred_layer=2),
        'cls_branches.1',
    ),
    'refined': ('mmdet.DeformableDETRHead', FOCAL, dict(num_pred_layer=2), 'cls_branches.1'),
    'two_stages': ('mmdet.DeformableDETRHead', FOCAL, TWO_STAGES, 'cls_branches.1'),
    'shared_with_encoder': ('mmdet.DeformableDETRHead', FOCAL, dict(TWO_STAGES, share_pred_layer=True), None),
    'dino': ('mmdet.DINOHead', FOCAL, TWO_STAGES, 'cls_branches.1'),
    'detr': ('mmdet.DETRHead', SOFTMAX_LOSS, {}, 'fc_cls'),
}


def build_other(type, loss, options):
    pytest.importorskip('mmcv.ops')
    cfg = dict(type=type, num_classes=C, loss_cls=loss, test_cfg=dict(score_thr=0, nms_pre=1000), **options)
    if 'DETR' in type or 'DINO' in type:
        cfg.update(embed_dims=8, test_cfg=dict(max_per_img=20))
    else:
        cfg.update(in_channels=4, feat_channels=4, stacked_convs=1)
        cfg['norm_cfg'] = dict(type='GN', num_groups=2)
        if 'FCOS' in type:
            cfg['strides'] = [8, 16]
        else:
            anchors = 1 if 'ATSS' in type else 2
            cfg['anchor_generator'] = dict(
                type='AnchorGenerator', octave_base_scale=4, scales_per_octave=anchors, ratios=[1.0], strides=[8, 16]
            )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(cfg)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return head.eval()


@torch.no_grad()
def outputs_of(head, seed=0):
    """Outputs of a head for features or queries, logits first."""
    generator = torch.Generator().manual_seed(seed)
    if not hasattr(head, 'embed_dims'):
        return head(tuple(torch.randn(1, 4, size, size, generator=generator) for size in (8, 4)))
    queries = torch.randn(2, 1, 20, 8, generator=generator)
    references = [torch.rand(1, 20, 4, generator=generator) for _ in range(2)]
    return head(queries, references) if hasattr(head, 'cls_branches') else head(queries[-1:])


def found_by(head, outputs):
    """Scores and labels that the head predicts, without NMS, best first."""
    dense = dict(with_nms=False) if not hasattr(head, 'embed_dims') else {}
    (found,) = head.predict_by_feat(*outputs, batch_img_metas=[META], rescale=False, **dense)
    order = found.scores.argsort(descending=True)
    return found.scores[order], found.labels[order]


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


def test_unnormalized_scores_are_for_box_heads_only(make_head):
    step = NorCal(renorm=False, class_counts=COUNTS)
    step.check(make_head('softmax'))
    with pytest.raises(TypeError, match=r'NorCal\(renorm=False\) calibrates box heads only, but got RetinaHead'):
        step.check(build_other(*CASES['retina'][:3]))


@pytest.mark.parametrize('kind', ['box', 'retina'])
def test_calibrating_twice_is_refused(make_head, kind):
    head = make_head('softmax') if kind == 'box' else build_other(*CASES['retina'][:3])
    NorCal(class_counts=COUNTS).attach(head)
    with pytest.raises(InputError, match='calibrated already'):
        NorCal(class_counts=COUNTS).attach(head)


def test_wrong_number_of_classes_of_a_dense_head():
    head = build_other(*CASES['retina'][:3])
    NorCal(class_counts=COUNTS[:2] * 4).attach(head)
    with pytest.raises(ValueError, match='logits of 8 classes.* but got 4'):
        found_by(head, outputs_of(head))


def test_what_is_no_shift_of_the_bias_cannot_be_written(make_head):
    head = make_head('softmax')
    assert not NorCal(on='logits', class_counts=COUNTS).write(head)
    assert not NorCal(renorm=False, class_counts=COUNTS).write(head)
    assert not NorCal(class_counts=COUNTS).write(make_head('softmax', cls_predictor_cfg=dict(type='NormedLinear')))


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

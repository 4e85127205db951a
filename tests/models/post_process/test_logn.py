import pytest
import torch
from mmengine.registry import DefaultScope
from toy_heads import CASES, COUNTS, HEADS, C, build_box_head, build_other, logits, scores_of
from toy_ranks import on_ranks

from ltmm.models.post_process import LogitMoments, LogN, NorCal, normalize_logits
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

MEAN, STD = [-2.0, -4.0, -5.0, -6.0], [2.0, 1.5, 1.0, 0.5]


@pytest.mark.parametrize('sizes', [(7, 1, 0, 50), (2,), (1, 1)])
def test_moments_are_those_of_all_rows_at_once(sizes):
    rows = 1000 + torch.randn(sum(sizes), 3, dtype=torch.float64) * torch.tensor([1e-3, 1, 10])
    moments, other = LogitMoments(), LogitMoments()
    for part in rows.split(sizes):
        moments.update(part)
    torch.testing.assert_close(moments.mean, rows.mean(0))
    torch.testing.assert_close(moments.variance, rows.var(0))
    for part in rows.split([1, len(rows) - 1]):  # as ranks are joined
        rank = LogitMoments()
        rank.update(part)
        other.add(rank.num, rank.mean, rank.sum_of_squares)
    torch.testing.assert_close(other.variance, rows.var(0))


def test_moments_need_two_rows():
    moments = LogitMoments()
    moments.update(torch.zeros(1, 3))
    with pytest.raises(InputError, match='at least 2 proposals .* but got 1'):
        _ = moments.variance


def test_classes_get_the_same_mean_and_spread_and_background_stays():
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    score = torch.cat([mean + std * torch.randn(5000, C), torch.randn(5000, 1)], 1)
    found = normalize_logits(score, mean, std)
    for c in range(C):
        torch.testing.assert_close(found[:, c], (score[:, c] - (MEAN[c] + 6)) / STD[c])
    assert torch.equal(found[:, C], score[:, C])
    assert (found[:, :C].std(0) - 1).abs().max() < 0.05
    assert LogN(MEAN, STD).correct_logits(score.bfloat16(), False).dtype == torch.bfloat16


@pytest.mark.parametrize('loss', HEADS)
def test_box_heads_of_each_kind(loss):
    head, folded, step, x = build_box_head(loss), build_box_head(loss), LogN(MEAN, STD), torch.randn(5, 4, 2, 2)
    folded.load_state_dict(head.state_dict())
    plain, deltas = head(x)
    expected = normalize_logits(plain, torch.tensor(MEAN).double(), torch.tensor(STD).double())
    step.attach(head)
    torch.testing.assert_close(head(x)[0], expected)
    torch.testing.assert_close(head(x)[1], deltas)
    assert scores_of(head, head(x)[0]).isfinite().all()
    step.enabled = False
    torch.testing.assert_close(head(x)[0], plain)
    step.enabled = True
    torch.testing.assert_close(head.train()(x)[0], plain)
    assert step.write(folded)
    torch.testing.assert_close(folded(x)[0], expected)
    with pytest.raises(InputError, match='calibrated already'):
        NorCal(class_counts=COUNTS).attach(head)


def test_cosine_classifiers_cannot_hold_it():
    head = build_box_head('softmax', cls_predictor_cfg=dict(type='NormedLinear'))
    step = LogN(MEAN, STD)
    assert not step.write(head)
    plain = head(x := torch.randn(5, 4, 2, 2))[0]
    step.attach(head)
    assert not torch.allclose(head(x)[0], plain)


@pytest.mark.parametrize('case', ['retina', 'ltmm_deformable', 'detr'])
def test_dense_and_detr_heads_are_refused(case):
    head = build_other(*CASES[case][:3])
    with pytest.raises(TypeError, match=f"LogN needs a head .* mmdet's BBoxHead, but got {type(head).__name__}"):
        LogN(MEAN, STD).check(head)


@pytest.mark.parametrize(
    'options',
    [
        dict(type='ltmm.Shared2FCBBoxHead', loss_cls=dict(type='ltmm.BalancedGroupSoftmaxLoss', class_counts=COUNTS)),
        dict(
            type='ltmm.MultiExpertBBoxHead',
            num_shared_fcs=1,
            num_cls_fcs=1,
            loss_cls=dict(type='ltmm.RoIExpertLoss', num_experts=3, loss=dict(type='ltmm.SADELoss')),
        ),
    ],
    ids=['groups', 'experts'],
)
def test_other_columns_than_those_of_the_classes_are_refused_at_once(options):
    sizes = dict(in_channels=4, fc_out_channels=8, roi_feat_size=2, num_classes=C)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(options | sizes)
    with pytest.raises(InputError, match=r'LogN: expected logits of 4 classes .* BAGS and several experts take ltmm.N'):
        LogN().check(head)


class Train:
    """Gives the logits of two stages, as a loader would, batch by batch."""

    def __init__(self, *stages):
        self.stages = stages

    def visit_proposals(self, visit, num_images):
        for stage, rows in enumerate(self.stages):
            for part in rows.split(7):
                visit(stage, torch.nn.Identity(), part)


def test_fit_takes_the_moments_of_each_stage(monkeypatch):
    monkeypatch.setattr(torch.nn.Identity, 'num_classes', C, raising=False)
    one, two = torch.randn(50, C + 1), 3 + 2 * torch.randn(50, C + 1)
    two[:, 1] = 4.0  # a class that never varies
    step = LogN()
    with pytest.raises(InputError, match='call fit'):
        step.correct_logits(logits(C + 1), False)
    step.fit(Train(one, two), None)
    torch.testing.assert_close(step.mean, torch.stack([one.mean(0), two.mean(0)])[:, :C].double())
    torch.testing.assert_close(step.std[0], one.std(0)[:C].double())
    assert step.std[1, 1] == pytest.approx(1e-11**0.5)
    assert step.enabled and step.needs_fit  # the next weights have other moments
    with pytest.raises(InputError, match='every stage'):
        step.correct_logits(one, False, stage=2)
    with pytest.raises(InputError, match='needs proposals'):
        LogN().fit(Train(), None)
    given = LogN(**step.settings())
    assert not given.needs_fit
    torch.testing.assert_close(given.correct_logits(two, False, 1), step.correct_logits(two, False, 1))


def test_two_ranks_take_the_moments_of_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.Identity, 'num_classes', C, raising=False)
    rows = 1000 + torch.randn(50, C)
    one = LogN()
    one.fit(Train(rows, rows[:9]), None)

    def fit(rank):  # the second rank has no proposals of the second stage
        step = LogN()
        step.fit(Train(*([rows[:40], rows[:9]], [rows[40:]])[rank]), None)
        return step.settings()

    for settings in on_ranks(fit, tmp_path):
        torch.testing.assert_close(settings['mean'], one.settings()['mean'], rtol=1e-12, atol=0)
        torch.testing.assert_close(settings['std'], one.settings()['std'], rtol=1e-9, atol=0)

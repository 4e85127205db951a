from functools import partial

import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config
from toy_training import stop_and_resume

from ltmm.models.losses import DeferredReweighting, ReweightedLoss

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])
CROSS_ENTROPY = dict(type='mmpretrain.CrossEntropyLoss')
LOSSES = [
    CROSS_ENTROPY,
    dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, num_classes=4),
    dict(type='ltmm.LDAMLoss', class_counts=COUNTS),
    dict(type='ltmm.BalancedSoftmaxLoss', class_counts=COUNTS),
    dict(type='ltmm.SigmoidFocalLoss', gamma=2),
]
WEIGHTS = dict(kind='effective_number', beta=0.9999)


@pytest.mark.parametrize('inner', LOSSES, ids=lambda cfg: cfg['type'])
def test_plain_loss_then_reweighted_loss(inner):
    score = torch.randn(5, 4)
    loss = DeferredReweighting(loss=inner, start_epoch=2, class_counts=COUNTS, **WEIGHTS)
    reweighted = ReweightedLoss(loss=inner, class_counts=COUNTS, **WEIGHTS)
    for epoch in range(4):
        loss.set_progress(epoch, 4)
        expected = loss.loss if epoch < 2 else reweighted
        kwargs = dict(avg_factor=7)
        torch.testing.assert_close(loss(score, LABEL, **kwargs), expected(score, LABEL, **kwargs), rtol=0, atol=0)
    assert not torch.equal(loss(score, LABEL), loss.loss(score, LABEL))


def test_needs_the_epoch():
    loss = DeferredReweighting(loss=CROSS_ENTROPY, start_epoch=2, class_counts=COUNTS, **WEIGHTS)
    with pytest.raises(RuntimeError, match='DeferredReweighting depends on .*ltmm.ProgressHook'):
        loss(torch.randn(5, 4), LABEL)


def test_warns_of_a_start_after_the_end(monkeypatch):
    told = []
    monkeypatch.setattr('ltmm.models.state.progress.print_log', lambda text, **_: told.append(text))
    loss = DeferredReweighting(loss=CROSS_ENTROPY, start_epoch=3, class_counts=COUNTS, **WEIGHTS)
    for epoch in range(3):
        loss.set_progress(epoch, 3)
    assert len(told) == 1 and 'never re-weights' in told[0]
    loss.set_progress(0, 4)
    assert len(told) == 1


def test_resume_after_the_switch(tmp_path):
    loss = dict(type='ltmm.DeferredReweighting', loss=dict(type='ltmm.LDAMLoss'), start_epoch=2, **WEIGHTS)
    head = dict(classifier=dict(type='ltmm.NormedLinear'), loss=dict(_delete_=True, **loss))

    def config(name, **options):
        cfg = toy_config(tmp_path / name, **options)
        cfg.merge_from_dict(dict(model=dict(head=head)))
        return cfg

    losses = []
    straight = Runner.from_cfg(config('straight'))
    module = straight.model.head.loss_module
    module.register_forward_hook(lambda module, args, value: losses.append((module.epoch, value.item())))
    straight.train()
    assert sorted({epoch for epoch, _ in losses}) == [0, 1, 2, 3]

    stop_and_resume(partial(config, 'stopped'), at_iter=26)  # in the last of four epochs, 8 iterations each
    ends = [torch.load(tmp_path / name / 'epoch_4.pth', weights_only=True) for name in ('straight', 'stopped')]
    torch.testing.assert_close(ends[1]['state_dict'], ends[0]['state_dict'], rtol=0, atol=0)

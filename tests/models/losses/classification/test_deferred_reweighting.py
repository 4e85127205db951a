import pytest
import torch
from mmengine.runner import Runner
from toy import Stopped, toy_config

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
def test_is_the_loss_itself_and_then_the_reweighted_loss(inner):
    score = torch.randn(5, 4)
    loss = DeferredReweighting(inner, 2, class_counts=COUNTS, **WEIGHTS)
    reweighted = ReweightedLoss(inner, class_counts=COUNTS, **WEIGHTS)
    for epoch in range(4):
        loss.set_progress(epoch, 4)
        expected = loss.loss if epoch < 2 else reweighted
        kwargs = dict(avg_factor=7)
        torch.testing.assert_close(loss(score, LABEL, **kwargs), expected(score, LABEL, **kwargs), rtol=0, atol=0)
    assert not torch.equal(loss(score, LABEL), loss.loss(score, LABEL))


def test_before_it_knows_the_epoch_it_names_the_hook():
    loss = DeferredReweighting(CROSS_ENTROPY, 2, class_counts=COUNTS, **WEIGHTS)
    with pytest.raises(RuntimeError, match='DeferredReweighting depends on .*ltmm.ProgressHook'):
        loss(torch.randn(5, 4), LABEL)


@pytest.mark.parametrize('start_epoch', [-1, 1.5, True, None])
def test_a_start_that_is_no_epoch_is_refused(start_epoch):
    with pytest.raises(ValueError, match='Expected `start_epoch` to be a whole number of at least 0, but got'):
        DeferredReweighting(CROSS_ENTROPY, start_epoch, **WEIGHTS)


def test_a_start_after_the_end_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(
        'ltmm.models.losses.classification.deferred_reweighting.print_log', lambda text, **_: told.append(text)
    )
    loss = DeferredReweighting(CROSS_ENTROPY, 3, class_counts=COUNTS, **WEIGHTS)
    for epoch in range(3):
        loss.set_progress(epoch, 3)
    assert len(told) == 1 and 'they never will' in told[0]
    loss.set_progress(0, 4)
    assert len(told) == 1


def test_a_run_stopped_after_the_switch_resumes_to_the_same_end(tmp_path):
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

    stopped = config('stopped')
    stopped.custom_hooks.append(dict(type='ltmm.StopHook', at_iter=26))  # in the last of four epochs, 8 iterations each
    with pytest.raises(Stopped):
        Runner.from_cfg(stopped).train()
    Runner.from_cfg(config('stopped', resume=True, experiment_name='resumed')).train()
    ends = [torch.load(tmp_path / name / 'epoch_4.pth', weights_only=True) for name in ('straight', 'stopped')]
    torch.testing.assert_close(ends[1]['state_dict'], ends[0]['state_dict'], rtol=0, atol=0)

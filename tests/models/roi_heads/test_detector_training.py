"""Whole detectors: trained, stopped and resumed in bfloat16, and on two processes."""

import pytest
import torch
from mmengine.runner import Runner
from toy_lvis import box_head, detector_config, lvis_content, write_lvis
from toy_processes import run_on_two_ranks

from ltmm.class_distribution import ClassDistributionError

pytestmark = pytest.mark.slow

SIGMOID = dict(type='ltmm.SigmoidCrossEntropyLoss')
HEADS = {
    'eql': box_head(),
    'eqlv2': box_head(loss_cls=dict(type='ltmm.EQLv2Loss')),
    'seesaw': box_head(loss_cls=dict(type='ltmm.SeesawLoss')),
    'rog': box_head(loss_cls=dict(type='ltmm.ROGLoss', loss=SIGMOID)),
    'loce': box_head(loss_cls=dict(type='ltmm.LOCELoss', feat_dim=16)),
    'bacl': box_head(loss_cls=dict(type='ltmm.BACLLoss', feat_dim=16)),
    'experts': box_head(
        type='ltmm.MultiExpertBBoxHead',
        num_shared_fcs=1,
        num_cls_fcs=1,
        num_reg_fcs=1,
        loss_cls=dict(type='ltmm.RoIExpertLoss', num_experts=3, loss=dict(type='ltmm.BalPoELoss')),
    ),
}
TERMS = dict(
    eql={'loss_cls'},
    eqlv2={'loss_cls'},
    seesaw={'loss_cls_objectness', 'loss_cls_classes'},
    rog={'loss_cls', 'loss_rank'},
    loce={'loss_cls', 'acc_classes'},
    bacl={'loss_cls', 'acc_classes'},
    experts={'loss_expert0', 'loss_expert2', 'loss_objectness'},
)
STATE = dict(
    eqlv2='gradients.positive',
    seesaw='counts.counts',
    rog='loss_rank.seen.counts',
    loce='objective.memory.counts',
    bacl='objective.loss.confusion.counts',
)
AMP = {'optim_wrapper.type': 'ltmm.CPUAmpOptimWrapper'}


def train(work_dir, data, head, **overrides) -> Runner:
    cfg = detector_config(work_dir, data, **{'train_cfg.val_interval': 100, **overrides})
    cfg.model.roi_head.bbox_head = head
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize('got', [2, 5])
def test_head_of_other_classes_than_the_data(tmp_path, got):
    write_lvis(tmp_path / 'data', lvis_content())
    head = dict(HEADS['eql'], num_classes=got)
    with pytest.raises(ClassDistributionError, match=rf'4 classes \(kite, .*roi_head.bbox_head.num_classes is {got}'):
        train(tmp_path, tmp_path / 'data', head)


def test_loss_falls_in_bfloat16(tmp_path):
    write_lvis(tmp_path / 'data', lvis_content())
    runner = train(tmp_path, tmp_path / 'data', HEADS['eql'], **{'train_cfg.max_epochs': 4, **AMP})
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert losses[-4:].mean() < losses[:4].mean()


@pytest.mark.parametrize('head', HEADS)
def test_resume(tmp_path, head):
    write_lvis(tmp_path / 'data', lvis_content())
    runner = train(tmp_path / 'through', tmp_path / 'data', HEADS[head], **{'train_cfg.max_epochs': 2, **AMP})
    logged = {name.removeprefix('train/') for name in runner.message_hub.log_scalars}
    assert TERMS[head] <= logged
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32} and not runner.model.neck._forward_hooks
    train(tmp_path / 'stopped', tmp_path / 'data', HEADS[head], **AMP)
    train(tmp_path / 'stopped', tmp_path / 'data', HEADS[head], **{'train_cfg.max_epochs': 2, 'resume': True, **AMP})
    through, stopped = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True)['state_dict'] for name in ('through', 'stopped')
    )
    torch.testing.assert_close(through, stopped, rtol=0, atol=0)
    if head in STATE:
        state = through[f'roi_head.bbox_head.loss_cls.{STATE[head]}']
        assert state.dtype in (torch.float64, torch.int64) and state[0] > state[1] > 0


@pytest.mark.parametrize('head', STATE)
def test_two_processes(tmp_path, head):
    write_lvis(tmp_path / 'data', lvis_content())
    cfg = detector_config(tmp_path / 'two', tmp_path / 'data', **{'train_cfg.val_interval': 100})
    cfg.model.roi_head.bbox_head = HEADS[head]
    cfg.custom_imports = dict(imports=['toy_multi_label'])
    cfg.custom_hooks.append(dict(type='ltmm.DumpStateHook'))
    cfg.dump(tmp_path / 'two.py')
    run = run_on_two_ranks('tools/train.py', tmp_path / 'two.py')
    assert run.returncode == 0, run.stderr[-3000:]
    first, second = (torch.load(tmp_path / 'two' / f'rank_{rank}.pth', weights_only=True) for rank in range(2))
    assert first[f'roi_head.bbox_head.loss_cls.{STATE[head]}'].any()
    names = [name for name in first if 'running_' not in name]
    torch.testing.assert_close([first[name] for name in names], [second[name] for name in names], rtol=0, atol=0)

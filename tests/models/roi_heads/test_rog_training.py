"""Whole detectors with ROG and with several experts: trained, stopped and resumed."""

import pytest
import torch
from mmengine.runner import Runner
from toy_lvis import CLASSES, detector_config, lvis_content, write_lvis

pytestmark = pytest.mark.slow

HEAD = dict(in_channels=8, fc_out_channels=16, num_classes=len(CLASSES))
SIGMOID = dict(type='ltmm.SigmoidCrossEntropyLoss')
HEADS = {
    'rog': dict(HEAD, type='ltmm.Shared2FCBBoxHead', loss_cls=dict(type='ltmm.ROGLoss', loss=SIGMOID)),
    'experts': dict(
        HEAD,
        type='ltmm.MultiExpertBBoxHead',
        num_shared_fcs=1,
        num_cls_fcs=1,
        num_reg_fcs=1,
        loss_cls=dict(type='ltmm.RoIExpertLoss', num_experts=3, loss=dict(type='ltmm.BalPoELoss')),
    ),
}
TERMS = dict(rog={'loss_cls', 'loss_rank'}, experts={'loss_expert0', 'loss_expert2', 'loss_objectness'})


def train(work_dir, data, head, **overrides) -> Runner:
    cfg = detector_config(work_dir, data, **{'train_cfg.val_interval': 100, **overrides})
    cfg.model.roi_head.bbox_head = HEADS[head]
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize('head', HEADS)
def test_resumed_equals_uninterrupted_in_bfloat16(tmp_path, head):
    write_lvis(tmp_path / 'data', lvis_content())
    amp = {'optim_wrapper.type': 'ltmm.CPUAmpOptimWrapper'}
    runner = train(tmp_path / 'through', tmp_path / 'data', head, **{'train_cfg.max_epochs': 2, **amp})
    logged = {name.removeprefix('train/') for name in runner.message_hub.log_scalars}
    assert TERMS[head] <= logged
    train(tmp_path / 'stopped', tmp_path / 'data', head, **amp)
    train(tmp_path / 'stopped', tmp_path / 'data', head, **{'train_cfg.max_epochs': 2, 'resume': True, **amp})
    through, stopped = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True)['state_dict'] for name in ('through', 'stopped')
    )
    torch.testing.assert_close(through, stopped, rtol=0, atol=0)
    if head == 'rog':
        counts = through['roi_head.bbox_head.loss_cls.loss_rank.seen.counts']
        assert counts.dtype == torch.float64 and counts[0] > counts[1] > 0

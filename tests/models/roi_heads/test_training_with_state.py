"""Whole detectors whose losses gather state, or have experts: trained, stopped, resumed, and on two processes."""

import pytest
import torch
from mmengine.runner import Runner
from toy import free_port, run_tool
from toy_lvis import box_head, detector_config, lvis_content, write_lvis

pytestmark = pytest.mark.slow

SIGMOID = dict(type='ltmm.SigmoidCrossEntropyLoss')
HEADS = {
    'eqlv2': box_head(loss_cls=dict(type='ltmm.EQLv2Loss')),
    'seesaw': box_head(loss_cls=dict(type='ltmm.SeesawLoss')),
    'rog': box_head(loss_cls=dict(type='ltmm.ROGLoss', loss=SIGMOID)),
    'experts': box_head(
        type='ltmm.MultiExpertBBoxHead',
        num_shared_fcs=1,
        num_cls_fcs=1,
        num_reg_fcs=1,
        loss_cls=dict(type='ltmm.RoIExpertLoss', num_experts=3, loss=dict(type='ltmm.BalPoELoss')),
    ),
}
TERMS = dict(
    eqlv2={'loss_cls'},
    seesaw={'loss_cls_objectness', 'loss_cls_classes'},
    rog={'loss_cls', 'loss_rank'},
    experts={'loss_expert0', 'loss_expert2', 'loss_objectness'},
)
STATE = dict(eqlv2='gradients.positive', seesaw='counts.counts', rog='loss_rank.seen.counts')


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
    if head in STATE:
        state = through[f'roi_head.bbox_head.loss_cls.{STATE[head]}']
        assert state.dtype == torch.float64 and state[0] > state[1] > 0


@pytest.mark.parametrize('head', STATE)
def test_two_processes_hold_the_same_state(tmp_path, head):
    write_lvis(tmp_path / 'data', lvis_content())
    cfg = detector_config(tmp_path / 'two', tmp_path / 'data', **{'train_cfg.val_interval': 100})
    cfg.model.roi_head.bbox_head = HEADS[head]
    cfg.custom_imports = dict(imports=['toy_multi_label'])
    cfg.custom_hooks.append(dict(type='ltmm.DumpStateHook'))
    cfg.dump(tmp_path / 'two.py')
    run = run_tool('tools/dist_train.sh', tmp_path / 'two.py', 2, PORT=free_port())
    assert run.returncode == 0, run.stderr[-3000:]
    first, second = (torch.load(tmp_path / 'two' / f'rank_{rank}.pth', weights_only=True) for rank in range(2))
    assert first[f'roi_head.bbox_head.loss_cls.{STATE[head]}'].any()
    names = [name for name in first if 'running_' not in name]
    torch.testing.assert_close([first[name] for name in names], [second[name] for name in names], rtol=0, atol=0)

"""A whole detector with EQL: trained in bfloat16, stopped and resumed."""

import pytest
import torch
from mmengine.runner import Runner
from toy_lvis import detector_config, lvis_content, write_lvis

from ltmm.class_distribution import ClassDistributionError

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path):
    write_lvis(tmp_path / 'data', lvis_content())
    return tmp_path / 'data'


def train(work_dir, data, **overrides) -> Runner:
    runner = Runner.from_cfg(detector_config(work_dir, data, **{'train_cfg.val_interval': 100, **overrides}))
    runner.train()
    return runner


@pytest.mark.parametrize('got', [2, 5])
def test_a_head_of_other_classes_than_the_data_is_refused_before_the_first_step(tmp_path, data, got):
    with pytest.raises(ClassDistributionError, match=f'roi_head.bbox_head.num_classes` to be 4, .* but got {got}'):
        train(tmp_path, data, **{'model.roi_head.bbox_head.num_classes': got})


def test_trains_in_bfloat16(tmp_path, data):
    runner = train(tmp_path, data, **{'optim_wrapper.type': 'ltmm.CPUAmpOptimWrapper', 'train_cfg.max_epochs': 4})
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert losses[-4:].mean() < losses[:4].mean()
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}
    assert not runner.model.neck._forward_hooks


def test_resumed_equals_uninterrupted(tmp_path, data):
    train(tmp_path / 'through', data, **{'train_cfg.max_epochs': 2})
    train(tmp_path / 'stopped', data, **{'train_cfg.max_epochs': 1})
    train(tmp_path / 'stopped', data, **{'train_cfg.max_epochs': 2, 'resume': True})
    through, stopped = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True)['state_dict'] for name in ('through', 'stopped')
    )
    torch.testing.assert_close(through, stopped, rtol=0, atol=0)

import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config


@pytest.mark.parametrize('classifier', [dict(type='ltmm.Linear'), dict(type='ltmm.NormedLinear', scale=16)])
def test_training_in_bfloat16(tmp_path, classifier):
    options = {'optim_wrapper.type': 'ltmm.CPUAmpOptimWrapper', 'model.head.classifier': classifier}
    cfg = toy_config(tmp_path, **options)
    runner = Runner.from_cfg(cfg)
    dtypes = []
    runner.model.head.fc.register_forward_hook(lambda module, args, out: dtypes.append(out.dtype))
    runner.train()
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert dtypes[0] == torch.bfloat16
    assert losses[-8:].mean() < losses[:8].mean()
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}

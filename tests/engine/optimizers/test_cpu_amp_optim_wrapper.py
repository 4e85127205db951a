import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import Runner
from toy import toy_config

from ltmm.engine.optimizers import CPUAmpOptimWrapper


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


def test_attention_is_not_fused():
    wrapper = CPUAmpOptimWrapper(torch.optim.SGD([torch.zeros(1)], lr=1.0))
    query = torch.randn(2, 1, 4, 8, requires_grad=True)
    with wrapper.optim_context(torch.nn.Identity()):
        out = F.scaled_dot_product_attention(query.bfloat16(), query.bfloat16(), query.bfloat16())
    assert out.dtype == torch.bfloat16 and 'Flash' not in out.grad_fn.name()
    expected = (query @ query.transpose(2, 3) / 8**0.5).softmax(3) @ query
    torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.05)

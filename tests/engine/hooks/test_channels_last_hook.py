import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config

from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError


def test_images_and_weights_are_converted(tmp_path):
    runner = Runner.from_cfg(toy_config(tmp_path))
    plain, images = copy.deepcopy(runner.model).eval(), torch.randn(2, 3, 8, 8)
    HOOKS.build(dict(type='ltmm.ChannelsLastHook')).before_run(runner)
    weights = runner.model.backbone.state_dict()
    assert any(x.dim() == 4 and not x.is_contiguous() for x in weights.values())
    first = next(module for module in runner.model.modules() if isinstance(module, torch.nn.Conv2d))
    seen = []
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    torch.testing.assert_close(runner.model.eval()(images), plain(images), rtol=1e-4, atol=1e-5)
    assert seen[0].is_contiguous(memory_format=torch.channels_last) and not seen[0].is_contiguous()


def test_detectors_are_refused():
    runner = SimpleNamespace(model=torch.nn.Conv2d(3, 3, 1))
    with pytest.raises(InputError, match='for classifiers, but the model is Conv2d'):
        HOOKS.build(dict(type='ltmm.ChannelsLastHook')).before_run(runner)

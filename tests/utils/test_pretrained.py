import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config

from ltmm.registry import MODELS
from ltmm.utils.pretrained import random_parameters

BACKBONE = dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8))


def runner(tmp_path, prefix=None, rename=str) -> Runner:
    """A runner whose backbone is initialized from a checkpoint with other names."""
    state = MODELS.build(BACKBONE).state_dict()
    torch.save(dict(state_dict={rename(name): value for name, value in state.items()}), tmp_path / 'weights.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'), prefix=prefix)
    return Runner.from_cfg(toy_config(tmp_path, **{'model.backbone.init_cfg': init_cfg, 'train_cfg.max_epochs': 1}))


@pytest.mark.parametrize(
    'rename, message',
    [
        ('backbone.{}', r"Pretrained` of backbone, has none of its \d+ parameters.*add prefix='backbone.'"),
        ('net.model.{}', r"add prefix='net.model.'"),
        ('{}_', 'It has conv1.weight_, not conv1.weight'),
    ],
)
def test_pretrained_of_which_nothing_matches(tmp_path, rename, message):
    with pytest.raises(ValueError, match=message):
        runner(tmp_path, rename=rename.format).train()
    assert not list(tmp_path.glob('epoch_*'))


def test_pretrained_that_matches(tmp_path):
    trained = runner(tmp_path, 'backbone.', 'backbone.{}'.format)
    trained.train()
    assert trained.iter == 8


def test_random_parameters():
    init_cfg = dict(type='Pretrained', checkpoint='any.pth')
    model = toy_config('unused').model
    names = random_parameters(MODELS.build(model))
    assert any(name.startswith('backbone.') for name in names)
    model.backbone.init_cfg = init_cfg
    assert random_parameters(MODELS.build(model)) == ['head.fc.weight', 'head.fc.bias']
    model.init_cfg = init_cfg
    assert random_parameters(MODELS.build(model)) == []

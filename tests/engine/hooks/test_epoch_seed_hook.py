import numpy as np
import pytest
from mmengine.runner import Runner
from torch.utils.data import RandomSampler, Sampler
from toy import toy_config

from ltmm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class SeededOnce(Sampler):
    """Shuffles by the same seed in every epoch."""

    def __init__(self, dataset, seed=0):
        self.dataset, self.seed = dataset, seed

    def __iter__(self):
        return iter(np.random.default_rng(self.seed).permutation(len(self.dataset)).tolist())

    def __len__(self):
        return len(self.dataset)


@DATA_SAMPLERS.register_module()
class SeededByTorch(RandomSampler):
    """Draws from the generator that EpochSeedHook seeds."""

    def __init__(self, dataset, seed=None):
        super().__init__(dataset)


def runner(tmp_path, sampler, **options) -> Runner:
    options |= {'train_dataloader.sampler': dict(sampler, _delete_=True), 'train_cfg.max_epochs': 1}
    return Runner.from_cfg(toy_config(tmp_path, **options))


@pytest.mark.parametrize(
    'sampler, options, message',
    [
        (dict(type='ltmm.SeededOnce'), {}, 'SeededOnce gives every epoch the same order. Define set_epoch'),
        (
            dict(type='DefaultSampler', shuffle=True),
            {'default_hooks.sampler_seed': None},
            'DefaultSampler gives every epoch the same order. Add sampler_seed',
        ),
    ],
    ids=['no set_epoch', 'no hook'],
)
def test_sampler_that_repeats_its_order(tmp_path, sampler, options, message):
    with pytest.raises(ValueError, match=message):
        runner(tmp_path, sampler, **options).train()


@pytest.mark.parametrize(
    'sampler', [dict(type='ltmm.SeededByTorch'), dict(type='DefaultSampler', shuffle=False)], ids=lambda s: s['type']
)
def test_sampler_without_set_epoch_that_does_not(tmp_path, sampler):
    options = {} if 'Torch' in sampler['type'] else {'default_hooks.sampler_seed': None}
    trained = runner(tmp_path, sampler, **options)
    trained.train()
    assert trained.iter == 8 and all(parameter.isfinite().all() for parameter in trained.model.parameters())

import pytest
import torch
from mmengine.runner import Runner
from toy import Stopped, toy_config

COUNTS = [60, 30, 0, 9, 1]
PLAIN = dict(type='DefaultSampler', shuffle=True)
BALANCED = dict(type='ltmm.PowerSampler', power=0)
CONFIG = dict(type='ltmm.DeferredSampler', before=PLAIN, after=BALANCED, start_epoch=2)


def test_switches_at_start_epoch(build):
    sampler, before, after = (build(COUNTS, **config) for config in (CONFIG, PLAIN, BALANCED))
    for epoch in (0, 1, 2, 3, 1):
        sampler.set_epoch(epoch)
        expected = before if epoch < 2 else after
        expected.set_epoch(epoch)
        assert list(sampler) == list(expected)
    assert len(sampler) == 100


def test_start_epoch_zero(build):
    assert list(build(COUNTS, **dict(CONFIG, start_epoch=0))) == list(build(COUNTS, **BALANCED))


def test_seed_setter(build):
    sampler, other = build(COUNTS, **CONFIG), build(COUNTS, **CONFIG, seed=5)
    sampler.seed = 5
    assert sampler.seed == 5
    for epoch in (0, 2):
        sampler.set_epoch(epoch)
        other.set_epoch(epoch)
        assert list(sampler) == list(other)


def test_progressive_sampler_gets_its_own_epochs(build):
    progressive = dict(type='ltmm.ProgressivelyBalancedSampler', total_epochs=2)
    sampler = build(COUNTS, **dict(CONFIG, before=progressive))
    sampler.set_epoch(3)
    assert len(list(sampler)) == 100


def test_ranks_equal_one_process(build, monkeypatch):
    alone = build(COUNTS, **CONFIG)
    alone.set_epoch(2)
    ranks = []
    for rank in range(4):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 4))
        ranks.append(build(COUNTS, **CONFIG))
        ranks[-1].set_epoch(2)
    assert [i for row in zip(*ranks) for i in row] == list(alone)


def test_exact_resume_after_the_switch(tmp_path):
    def config(name, **options):
        return toy_config(tmp_path / name, **{'train_dataloader.sampler': dict(_delete_=True, **CONFIG), **options})

    no_seed = {'randomness.seed': None}  # the first run draws one, the resumed run restores it
    straight = Runner.from_cfg(config('straight', **no_seed))
    straight.train()
    stopped = config('stopped', **{'randomness.seed': straight.seed})
    stopped.custom_hooks.append(dict(type='ltmm.StopHook', at_iter=26))  # in the last of four epochs, 8 iterations each
    with pytest.raises(Stopped):
        Runner.from_cfg(stopped).train()
    Runner.from_cfg(config('stopped', **no_seed, resume=True, experiment_name='resumed')).train()
    ends = [torch.load(tmp_path / name / 'epoch_4.pth', weights_only=True) for name in ('straight', 'stopped')]
    torch.testing.assert_close(ends[1]['state_dict'], ends[0]['state_dict'], rtol=0, atol=0)

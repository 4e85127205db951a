"""The loop: rounds, faults, resume, bad input."""

import copy
import multiprocessing

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from toy import Stopped, toy_config

from ltmm.registry import HOOKS
from ltmm.tasks.federated import Faults, FederatedTrainLoop, copy_state, fedavg
from ltmm.utils.errors import InputError

EXPERTS = dict(
    backbone=dict(type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(4, 4, 8), num_experts=3),
    head=dict(
        type='ltmm.MultiExpertClsHead', num_classes=3, in_channels=8, num_experts=3, loss=dict(type='ltmm.GBMELoss')
    ),
)


def config(work_dir, experts=True, loop=None, **overrides):
    cfg = toy_config(work_dir, **overrides)
    if experts:
        cfg.model.pop('head')
        cfg.model.update(copy.deepcopy(EXPERTS))
    settings = dict(
        clients=dict(num_clients=4, alpha=0.5, min_size=4), clients_per_round=2, max_rounds=3, val_interval=3
    )
    settings |= dict(experts=dict(start=0.4, share=0.5)) if experts else {}
    cfg.train_cfg = dict(type='ltmm.FederatedTrainLoop', **{**settings, **(loop or {})})
    cfg.log_level = 'WARNING'
    return cfg


def train(*args, **kwargs) -> Runner:
    runner = Runner.from_cfg(config(*args, **kwargs))
    runner.train()
    return runner


def assert_finite(model):
    assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp('straight')
    runner = train(folder, loop=dict(faults=dict(late=0.7)))
    return runner, torch.load(folder / 'epoch_3.pth', weights_only=True)


def test_resume_is_exact_with_late_clients(straight, tmp_path):
    loop = dict(faults=dict(late=0.7))
    stopped = config(tmp_path, loop=loop)
    stopped.custom_hooks.append(dict(type='ltmm.StopInRound', round=2))
    with pytest.raises(Stopped):
        Runner.from_cfg(stopped).train()
    assert any(
        torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['message_hub']['runtime_info']['federated']['late']
    )
    # the seed is that of the checkpoint, also for the samplers of the clients
    train(tmp_path, loop=loop, resume=True, experiment_name='resumed', randomness=dict(seed=None))
    resumed, expected = torch.load(tmp_path / 'epoch_3.pth', weights_only=True), straight[1]
    torch.testing.assert_close(resumed['state_dict'], expected['state_dict'], rtol=0, atol=0)
    assert resumed['meta']['epoch'] == expected['meta']['epoch'] == 3


@HOOKS.register_module()
class StopInRound(Hook):
    """Ends the training at the start of a round, counted from 0."""

    def __init__(self, round):
        self.round = round

    def before_train_epoch(self, runner):
        if runner.epoch == self.round:
            raise Stopped


def test_rounds(straight):
    runner, checkpoint = straight
    loop = runner.train_loop
    assert isinstance(loop, FederatedTrainLoop)
    assert [len(x) for x in loop.clients] == loop.counts.sum(1).tolist()
    assert loop.counts.sum(0).tolist() == [40, 16, 8]
    assert loop.estimate.shape == (4, 3)
    assert loop.build_loader(0).dataset.dataset is loop.dataloader.dataset  # one copy of the images for all
    assert loop.build_loader(0).worker_init_fn is None  # it would draw the same augmentations every round
    assert checkpoint['state_dict']['head.class_distribution.instance_counts'].tolist() == [40, 16, 8]
    assert checkpoint['state_dict']['head.loss_module.class_distribution.instance_counts'].tolist() == [40, 16, 8]
    assert all(parameter.requires_grad for parameter in runner.model.parameters())
    assert_finite(runner.model)


@HOOKS.register_module()
class PriorRecorder(Hook):
    """Records the counts in the loss and the trained expert of each iteration."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        loss = runner.model.head.loss_module
        expert = getattr(loss, 'expert', None)
        frozen = {name for name, p in runner.model.named_parameters() if not p.requires_grad}
        self.seen.append((runner.epoch, loss.get_class_distribution().instance_counts.tolist(), expert, frozen))


def test_priors_and_experts_of_the_rounds(tmp_path):
    runner = Runner.from_cfg(config(tmp_path))
    runner.register_hook(recorder := PriorRecorder())
    runner.train()
    expected = runner.train_loop.estimate.sum(0).clamp(min=5).tolist()
    assert all(counts == expected for _, counts, _, _ in recorder.seen)
    assert {(r, e) for r, _, e, _ in recorder.seen} == {(0, None), *((r, e) for r in (1, 2) for e in range(3))}
    for _, _, expert, frozen in recorder.seen:
        names = {name for name, _ in runner.model.named_parameters() if 'experts.' in name}
        assert frozen == (set() if expert is None else {n for n in names if f'experts.{expert}.' not in n})


def test_local_prior(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, experts=False, loop=dict(prior='local', max_rounds=1)))
    runner.register_hook(recorder := PriorRecorder())
    runner.train()
    seen = {tuple(counts) for _, counts, _, _ in recorder.seen}
    assert len(seen) == 2
    assert seen <= {*map(tuple, runner.train_loop.counts.tolist())}
    assert runner.train_loop.estimate is None


@HOOKS.register_module()
class StartRecorder(Hook):
    """Keeps the weights at the start of the first round."""

    def before_train_epoch(self, runner):
        if runner.epoch == 0:
            self.start = {name: value.detach().clone() for name, value in runner.model.named_parameters()}


@pytest.mark.parametrize('fault', ['drop_out', 'invalid'])
def test_without_any_valid_client_the_weights_stay(tmp_path, fault):
    loop = dict(prior='global', max_rounds=1, faults={fault: 1.0})
    runner = Runner.from_cfg(config(tmp_path, experts=False, loop=loop))
    runner.register_hook(recorder := StartRecorder())
    runner.train()
    for name, value in runner.model.named_parameters():
        assert torch.equal(value, recorder.start[name]), name


def test_one_poisoned_client_does_not_stop_or_poison_a_round(tmp_path, monkeypatch):
    trained = FederatedTrainLoop._train
    averaged = []

    def poisoned(loop, client, state, expert):
        new = trained(loop, client, state, expert)
        return {n: v * float('nan') if v.is_floating_point() else v for n, v in new.items()} if client == 0 else new

    def recorded(states, weights):
        averaged.append(len(states))
        return fedavg(states, weights)

    monkeypatch.setattr(FederatedTrainLoop, '_train', poisoned)
    monkeypatch.setattr('ltmm.tasks.federated.loop.fedavg', recorded)
    runner = train(tmp_path, experts=False, loop=dict(prior='global', max_rounds=1, clients_per_round=4))
    assert averaged == [3]
    assert_finite(runner.model)


@HOOKS.register_module()
class BreakFirstClient(Hook):
    """Makes the first loss of a round NaN, as of broken images."""

    priority = 'HIGHEST'

    def before_train_epoch(self, runner):
        self.broken = True

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.broken:
            outputs['loss'] = outputs['loss'] * float('nan')
        self.broken = False


def test_client_with_a_loss_that_is_not_finite_is_left_out(tmp_path, monkeypatch):
    sizes = []

    def recorded(states, weights):
        sizes.append(len(states))
        return fedavg(states, weights)

    monkeypatch.setattr('ltmm.tasks.federated.loop.fedavg', recorded)
    cfg = config(tmp_path, experts=False, loop=dict(prior='global', max_rounds=2, clients_per_round=3))
    cfg.custom_hooks.insert(0, dict(type='ltmm.BreakFirstClient'))
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert sizes == [2, 2]
    assert_finite(runner.model)


def test_late_client_counts_in_the_next_round(tmp_path, monkeypatch):
    sizes = []

    def recorded(states, weights):
        sizes.append(sorted(weights))
        return fedavg(states, weights)

    monkeypatch.setattr('ltmm.tasks.federated.loop.fedavg', recorded)
    options = dict(prior='global', max_rounds=2, clients_per_round=1, faults=dict(late=1.0), late_weight=0.25)
    runner = train(tmp_path, experts=False, loop=options)
    assert len(sizes) == 1  # nothing arrives in the first round, that of the first arrives in the second
    assert 4 * sizes[0][0] in map(len, runner.train_loop.clients)


def test_faults():
    generator = np.random.default_rng(0)
    drawn = [Faults(drop_out=0.2, late=0.3, invalid=0.1).draw(generator) for _ in range(4000)]
    shares = [drawn.count(fault) / len(drawn) for fault in ('drop_out', 'late', 'invalid', '')]
    np.testing.assert_allclose(shares, [0.2, 0.3, 0.1, 0.4], atol=0.03)
    assert {Faults().draw(generator) for _ in range(20)} == {''}
    with pytest.raises(InputError, match='sum <= 1'):
        Faults(drop_out=0.7, late=0.7)


@pytest.mark.parametrize(
    ('loop', 'message'),
    [
        (dict(prior='true'), '`prior`'),
        (dict(published='draws'), '`published`'),
        (dict(published=['all']), '`published`'),
        (dict(prior='local', noise={}), "needs prior='proxy'"),
        (dict(clients=[[0, 1], [1, 2]]), 'image 1 has 2'),
        (dict(clients=[[0, 1], [64]]), r'Client 1: expected indices in \[0, 64\)'),
        (dict(clients=[[0, 1], []]), 'Client 1'),
        (dict(clients=dict(num_clients=30, alpha=1.0)), 'at least 300 images'),
        (dict(clients=3), 'needs Flower'),
        (dict(clients_per_round=0), '`clients_per_round`'),
        (dict(clients_per_round=5), '<= 4 clients, but got 5'),
        (dict(faults=dict(late=-1)), '`late`'),
        (dict(faults=dict(late='often')), '`late`'),
        (dict(faults=dict(drop=0.1)), r'`faults` to be a dict with keys of .*drop_out.*, but got .*drop'),
        (dict(experts=0.6), '`experts` to be a dict'),
    ],
)
def test_bad_settings(tmp_path, loop, message):
    runner = Runner.from_cfg(config(tmp_path, experts=False, loop=loop))
    with pytest.raises(InputError, match=message):
        runner.build_train_loop(runner._train_loop)


def test_wrong_name_of_the_classifier(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, experts=False, loop=dict(classifier='backbone.conv1', max_rounds=1)))
    with pytest.raises(InputError, match="classifier='backbone.conv1'"):
        runner.train()


def test_workers_of_a_client_end_with_its_training(tmp_path):
    cfg = config(tmp_path, experts=False, loop=dict(prior='global', max_rounds=1, clients_per_round=3))
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True)
    runner = Runner.from_cfg(cfg)
    alive = []

    @HOOKS.register_module(name='CountWorkers', force=True)
    class CountWorkers(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            alive.append(len(multiprocessing.active_children()))

    runner.register_hook(CountWorkers())
    runner.train()
    assert set(alive) == {1}


def test_a_client_draws_the_same_whoever_trained_before(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, experts=False, loop=dict(prior='global', max_rounds=1)))
    runner.train()
    loop, start = runner.train_loop, copy_state(runner.model)
    alone = loop._train(2, start, None)
    after_another = list(loop.train_clients([1, 2], start, None))[1]
    torch.testing.assert_close(alone, after_another, rtol=0, atol=0)

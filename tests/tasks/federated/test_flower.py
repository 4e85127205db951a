"""Clients behind Flower train to the same weights as in one process, and may be gone, late or broken."""

import copy
import sys

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config

from ltmm.tasks.federated import client_app, flower, server_app
from ltmm.utils.environment import EnvironmentProblem
from ltmm.utils.errors import InputError

LOOP = dict(
    type='ltmm.FederatedTrainLoop',
    clients=dict(num_clients=4, alpha=0.5, min_size=4),
    clients_per_round=2,
    max_rounds=3,
    val_interval=3,
    experts=dict(start=0.4, share=0.5),
)
MODEL = dict(
    backbone=dict(_delete_=True, type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(4, 4, 8), num_experts=2),
    head=dict(
        _delete_=True,
        type='ltmm.MultiExpertClsHead',
        num_classes=3,
        in_channels=8,
        num_experts=2,
        loss=dict(type='ltmm.GBMELoss'),
    ),
)


def config(folder, **loop):
    cfg = toy_config(folder / 'work')
    cfg.merge_from_dict(dict(model=copy.deepcopy(MODEL)))
    cfg.pop('experiment_name')
    cfg.train_cfg = {**copy.deepcopy(LOOP), **loop}
    cfg.param_scheduler[0].milestones = [1]
    cfg.log_level = 'WARNING'
    return cfg


class DirectGrid:
    """Stands for Flower's network: hands each message to the app of its node, in this process.

    Args:
        run_config: Config of the run.
        num_clients: Nodes, numbered from 100.
        edit: Function from the number of the call of :meth:`push_messages`, the client and its answer to the answer
            that the server gets; None for none.
    """

    def __init__(self, run_config, num_clients=4, edit=lambda call, client, answer: answer):
        self.run_config, self.num_clients, self.edit = run_config, num_clients, edit
        self.app, self.answers, self.sent = client_app(), {}, []

    def get_node_ids(self):
        return [100 + k for k in range(self.num_clients)]

    def push_messages(self, messages):
        from flwr.app import Context, RecordDict

        ids = []
        for message in messages:
            ids.append(f'message {len(self.sent)}')
            client = message.metadata.dst_node_id - 100
            message.metadata.__dict__['_message_id'] = ids[-1]
            node = {'partition-id': client}
            context = Context(1, message.metadata.dst_node_id, node, RecordDict(), dict(self.run_config))
            answer = self.app(message, context)
            self.sent.append((message.metadata.message_type, client))
            answer = self.edit(len(self.sent), client, answer) if message.metadata.message_type == 'train' else answer
            if answer is not None:
                self.answers[ids[-1]] = answer
        return ids

    def pull_messages(self, message_ids):
        return [self.answers.pop(i) for i in message_ids if i in self.answers]


def serve(folder, cfg, **kwargs):
    """Run the server; return the last checkpoint and the grid."""
    from flwr.app import Context, RecordDict

    cfg.dump(folder / 'toy_config.py')
    run = {'config': str(folder / 'toy_config.py'), 'work-dir': str(folder / 'served'), 'timeout': 1.0}
    grid = DirectGrid(run, **kwargs)
    server_app()(grid, Context(1, 0, {}, RecordDict(), run))
    return torch.load(folder / 'served' / f'epoch_{cfg.train_cfg.max_rounds}.pth', weights_only=True), grid


def in_one_process(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.fixture
def flwr(monkeypatch):
    pytest.importorskip('flwr')
    identity = pytest.importorskip('flwr.supercore.task_identity').TaskIdentity
    for name in ('_task_id', '_run_id', '_node_id'):  # as a process of Flower has them
        monkeypatch.setattr(identity, name, 1)


@pytest.mark.parametrize('published', [(), ('draws',)])
def test_weights_equal_those_of_one_process(flwr, tmp_path, published):
    expected = in_one_process(config(tmp_path, published=published))
    served, grid = serve(tmp_path, config(tmp_path, published=published))
    own = expected.model.state_dict()
    torch.testing.assert_close(served['state_dict'], dict(own), rtol=0, atol=0)
    federated = served['message_hub']['runtime_info']['federated']
    assert torch.equal(federated['estimate'], expected.train_loop.estimate)
    assert len(grid.sent) == 4 + 4 + 2 + 2 * 2 * 2 - 4 * len(published)

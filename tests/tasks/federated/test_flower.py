"""Clients behind Flower train to the same weights as in one process, and may be gone, late or broken."""

import copy
import itertools
import logging
import runpy
import uuid

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from toy import ROOT, toy_config

from ltmm.tasks.federated import RemoteClients, client_app, server_app
from ltmm.tasks.federated.flower.messages import content_of, tensors_of
from ltmm.utils.environment import EnvironmentProblem
from ltmm.utils.errors import InputError
from ltmm.utils.launch import build_runner

EXPERTS = dict(
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
    if 'experts' in loop:
        cfg.merge_from_dict(dict(model=copy.deepcopy(EXPERTS)))
    cfg.experiment_name = uuid.uuid4().hex
    settings = dict(clients=dict(num_clients=3, alpha=0.5, min_size=4), clients_per_round=2, max_rounds=2)
    cfg.train_cfg = {'type': 'ltmm.FederatedTrainLoop', 'val_interval': 9, **settings, **loop}
    cfg.param_scheduler[0].milestones = [1]
    cfg.log_level = 'ERROR'
    cfg.train_dataloader.dataset.serialize_data = False  # which takes seconds where much is imported
    cfg.val_dataloader.dataset.serialize_data = False
    return cfg


class Grid:
    """Stands for Flower's network, in this process.

    Args:
        answer: Function from the type of a message, the client and the message to its answer; None for none yet.
        num_clients: Nodes; that of client k is 100 + k.
    """

    def __init__(self, answer, num_clients=3):
        self.answer, self.nodes = answer, [100 + k for k in range(num_clients)]
        self.sent, self.answers = [], {}

    def get_node_ids(self):
        return self.nodes

    def push_messages(self, messages):
        ids = []
        for message in messages:
            kind, client = message.metadata.message_type, message.metadata.dst_node_id - 100
            ids.append(f'{len(self.sent)}')
            message.metadata.__dict__['_message_id'] = ids[-1]
            self.sent.append((kind, client))
            self.answers[ids[-1]] = self.answer(kind, client, message)
        return ids

    def pull_messages(self, message_ids):
        return [self.answers.pop(i) for i in message_ids if self.answers.get(i) is not None]


def apps(folder, cfg, node=lambda client: {}):
    """Return the config of a run, and the clients as a function for :class:`Grid`."""
    from flwr.app import Context, RecordDict

    (folder / 'toy_config.py').write_text('\n'.join(f'{name} = {value!r}' for name, value in cfg.to_dict().items()))
    run, app = {'config': str(folder / 'toy_config.py'), 'work-dir': str(folder / 'served')}, client_app()

    def answer(kind, client, message):
        context = Context(1, 100 + client, {'partition-id': client, **node(client)}, RecordDict(), run)
        return app(message, context)

    return run, answer


def serve(grid, run, **options):
    from flwr.app import Context, RecordDict

    run = {**run, 'timeout': 60.0, **options}
    server_app()(grid, Context(1, 0, {}, RecordDict(), run))


def checkpoint(folder, epoch):
    return torch.load(folder / 'served' / f'epoch_{epoch}.pth', weights_only=True)


@pytest.fixture
def flwr(monkeypatch):
    pytest.importorskip('flwr')
    identity = pytest.importorskip('flwr.supercore.task_identity').TaskIdentity
    for name in ('_task_id', '_run_id', '_node_id'):  # as a process of Flower has them
        monkeypatch.setattr(identity, name, 1)
    monkeypatch.setattr(Config, 'pretty_text', 'for the log; takes a second for each runner')


def test_weights_equal_those_of_one_process(flwr, tmp_path):
    cfg = config(tmp_path, experts=dict(start=0.5, share=0.5), proximal=0.01)
    runner = Runner.from_cfg(copy.deepcopy(cfg))
    runner.train()
    run, answer = apps(tmp_path, cfg)
    serve(grid := Grid(answer), run)
    served = checkpoint(tmp_path, 2)
    torch.testing.assert_close(served['state_dict'], dict(runner.model.state_dict()), rtol=0, atol=0)
    federated = served['message_hub']['runtime_info']['federated']
    assert torch.equal(federated['estimate'], runner.train_loop.estimate)
    assert [kind for kind, _ in grid.sent] == ['query'] * 3 + ['train'] * (3 + 2 + 2 * 2)


def test_own_data_and_resume(flwr, tmp_path):
    cfg = config(tmp_path, clients=2, prior='proxy', max_rounds=1)
    options = [f'train_dataloader.dataset.counts="[{counts}]"' for counts in ('20,9,4', '5,16,8')]
    run, answer = apps(tmp_path, cfg, lambda client: {'cfg-options': options[client]})
    serve(Grid(answer, num_clients=2), run)
    first = checkpoint(tmp_path, 1)
    estimate = first['message_hub']['runtime_info']['federated']['estimate']
    assert estimate.sum(1).tolist() == pytest.approx([33, 29], abs=2)
    expected = estimate.sum(0).clamp(min=5).tolist()
    assert first['state_dict']['head.class_distribution.instance_counts'].tolist() == expected
    serve(grid := Grid(answer, num_clients=2), {**run, 'cfg-options': 'train_cfg.max_rounds=2'}, resume=True)
    second = checkpoint(tmp_path, 2)
    assert [kind for kind, _ in grid.sent] == ['query'] * 2 + ['train'] * 2  # no second estimate
    assert second['state_dict']['head.class_distribution.instance_counts'].tolist() == expected
    assert all(value.isfinite().all() for value in second['state_dict'].values())


def test_metrics_of_a_server_without_data_take_the_estimate(flwr, tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(
        'ltmm.tasks.federated.flower.apps.build_runner', lambda cfg: built.append(build_runner(cfg)) or built[-1]
    )
    cfg = config(tmp_path, clients=2, prior='local', max_rounds=1)
    cfg.val_evaluator = dict(type='ltmm.LongTailMetric')
    run, answer = apps(tmp_path, cfg)
    serve(Grid(answer, num_clients=2), run)
    server = built[0]
    expected = checkpoint(tmp_path, 1)['state_dict']['head.class_distribution.instance_counts'].tolist()
    assert expected == server.train_loop.estimate.sum(0).clamp(min=5).tolist()
    assert [metric.distribution.instance_counts.tolist() for metric in server.val_evaluator.metrics] == [expected]


SIZES = (10, 20, 34)
CLIENTS = [list(range(10)), list(range(10, 30)), list(range(30, 64))]


class AddingClients:
    """Clients that add 1 + their index to each weight; ``edit`` changes what a client sends."""

    def __init__(self, edit=lambda client, message, answer: answer):
        self.edit, self.round = edit, 0

    def __call__(self, kind, client, message):
        from flwr.app import Message

        if kind == 'query':
            return Message(content_of({'client': client, 'num-examples': SIZES[client]}), reply_to=message)
        state = tensors_of(message.content, 'state')
        new = {n: v + (1 + client) if v.is_floating_point() else v for n, v in state.items()}
        return self.edit(client, message, Message(content_of({}, state=new), reply_to=message))


def grown(grid, folder, rounds=1, timeout=0.5, **loop):
    """Run a server; return how much its first bias grows by each average."""
    settings = dict(clients=CLIENTS, prior='global', clients_per_round=3, max_rounds=rounds)
    cfg = config(folder, **{**settings, **loop})
    cfg.train_cfg.type = 'ltmm.FlowerServerLoop'
    runner = Runner.from_cfg(cfg)
    loop, found = runner.train_loop, []
    average = loop._communicate

    def recorded(state, *args):
        new = average(state, *args)
        found.append(new['head.fc.bias'][0].item() - state['head.fc.bias'][0].item())
        return new

    loop._communicate = recorded
    loop.connect(grid, timeout)
    runner.train()
    return found


def mean_of(*clients):
    return sum((1 + k) * SIZES[k] for k in clients) / sum(SIZES[k] for k in clients)


def with_tensors(change):
    """Return an edit of the answer of client 1."""
    from flwr.app import Message

    def edit(client, message, answer):
        if client != 1:
            return answer
        return Message(content_of({}, state=change(tensors_of(answer.content, 'state'))), reply_to=message)

    return edit


def error(client, message, answer):
    from flwr.app import Error, Message

    return answer if client != 1 else Message(Error(code=0, reason='its disk is full'), reply_to=message)


def empty(client, message, answer):
    from flwr.app import Message

    return answer if client != 1 else Message(content_of({}), reply_to=message)


def no_bytes(client, message, answer):
    from flwr.app import Array, ArrayRecord, Message, RecordDict

    arrays = ArrayRecord({'head.fc.bias': Array('float32', (3,), 'numpy.ndarray', b'')})
    content = RecordDict({'config': content_of({})['config'], 'state': arrays})
    return answer if client != 1 else Message(content, reply_to=message)


FAULTS = ['none', 'nan', 'other tensors', 'other shapes', 'integers', 'float64', 'empty', 'no bytes', 'error', 'silent']


@pytest.mark.parametrize('fault', [*FAULTS, 'gone'])
def test_a_faulty_client_does_not_stop_or_poison_a_round(flwr, tmp_path, fault):
    edits = {
        'nan': with_tensors(lambda state: {n: v * float('nan') for n, v in state.items()}),
        'other tensors': with_tensors(lambda state: {'weight': torch.zeros(3)}),
        'other shapes': with_tensors(lambda state: {n: v.new_zeros(2, 2) for n, v in state.items()}),
        'integers': with_tensors(lambda state: {n: v.long() for n, v in state.items()}),
        'float64': with_tensors(lambda state: {n: 1e300 * v.double() for n, v in state.items()}),
        'empty': empty,
        'no bytes': no_bytes,
        'error': error,
        'silent': lambda client, message, answer: None if client == 1 else answer,
    }
    grid = Grid(AddingClients(edits.get(fault, lambda client, message, answer: answer)))
    if fault == 'gone':
        del grid.nodes[1]
    expected = mean_of(0, 1, 2) if fault == 'none' else mean_of(0, 2)
    assert grown(grid, tmp_path) == pytest.approx([expected], rel=1e-5)


def test_late_answers_count_in_the_next_average(flwr, tmp_path):
    answers = AddingClients()
    kept = []

    def late(kind, client, message):
        answer = answers(kind, client, message)
        if kind == 'train' and client == 1 and not kept:
            kept.append(answer)
            return None
        return answer

    grid = Grid(late)
    pull = grid.pull_messages

    def pull_messages(ids):
        if kept and kept[0].metadata.reply_to_message_id in ids and len([x for x in grid.sent if x[0] == 'train']) > 3:
            grid.answers[kept[0].metadata.reply_to_message_id] = kept[0]
        return pull(ids)

    grid.pull_messages = pull_messages
    steps = grown(grid, tmp_path, rounds=3, timeout=0.5, late_weight=0.25)
    weights = [(2, 0.25 * SIZES[1]), *((1 + k, SIZES[k]) for k in range(3))]
    late_mean = sum(step * weight for step, weight in weights) / sum(weight for _, weight in weights)
    assert steps == pytest.approx([mean_of(0, 2), mean_of(0, 1, 2), late_mean], rel=1e-5)


def test_clients_that_come_back_or_fit_in_later(flwr, tmp_path):
    grid = Grid(AddingClients())
    late_node = grid.nodes.pop(2)
    answer = grid.answer

    def comes(kind, client, message):
        if kind == 'train' and late_node not in grid.nodes:
            grid.nodes.append(late_node)
        return answer(kind, client, message)

    grid.answer = comes
    assert grown(grid, tmp_path, rounds=2) == pytest.approx([mean_of(0, 1), mean_of(0, 1, 2)], rel=1e-5)


@pytest.mark.parametrize(
    ('loop', 'message'),
    [
        (dict(published=['estimate']), 'all clients in one process'),
        (dict(clients=2, prior='global'), "prior='global' needs"),
        (dict(clients=0, prior='local'), '`clients`'),
    ],
)
def test_bad_settings(tmp_path, loop, message):
    cfg = config(tmp_path, **loop)
    cfg.train_cfg.type = 'ltmm.FlowerServerLoop'
    with pytest.raises(InputError, match=message):
        Runner.from_cfg(cfg).train_loop  # noqa: B018 (built by the property)


def test_nobody_there(flwr, tmp_path):
    with pytest.raises(InputError, match=r'No client came within 0.3 s'):
        grown(Grid(None, num_clients=0), tmp_path, timeout=0.3)


def test_bad_clients(flwr, tmp_path):
    from flwr.app import Message

    message = Message(content_of({}), 101, 'query')
    with pytest.raises(Exception, match='partition-id=0'):
        apps(tmp_path, config(tmp_path), lambda client: {'partition-id': None})[1]('query', 1, message)
    _, answer = apps(tmp_path, config(tmp_path), lambda client: {'partition-id': 3})
    with pytest.raises(Exception, match='partition-id to be in 0 to 2, but got 3'):
        answer('query', 1, message)
    _, answer = apps(tmp_path, config(tmp_path, type='EpochBasedTrainLoop'))
    with pytest.raises(Exception, match='to be ltmm.FederatedTrainLoop, but got EpochBasedTrainLoop'):
        answer('query', 1, message)


def test_noise_of_a_client_is_unknown_to_the_server(flwr, tmp_path):
    from flwr.app import Message

    cfg = config(tmp_path, noise=dict(kind='laplace', multiplier=2.0), prior='proxy')
    _, answer = apps(tmp_path, cfg)
    request = {'task': 'estimate', 'round': 0, 'expert': -1, 'seed': 0}
    state = {n: v for n, v in Runner.from_cfg(cfg).model.state_dict().items() if 'class_distribution' not in n}
    growths = []
    for _ in range(2):
        message = Message(content_of(request, state=state), 101, 'train')
        growths.append(tensors_of(answer('train', 1, message).content, 'growth')['growth'])
    assert (growths[0] - growths[1]).abs().min() > 1e-4


def test_schedule_by_iteration(flwr, tmp_path):
    from flwr.app import Message

    cfg = config(tmp_path, prior='local')
    cfg.param_scheduler[0].by_epoch = False
    _, answer = apps(tmp_path, cfg)
    message = Message(content_of({'task': 'round', 'round': 1, 'expert': -1, 'seed': 0}), 101, 'train')
    with pytest.raises(Exception, match='MultiStepLR with by_epoch=False'):
        answer('train', 1, message)


def test_nobody_answers_the_estimate(flwr, tmp_path):
    clients = AddingClients()
    grid = Grid(lambda kind, client, message: clients(kind, client, message) if kind == 'query' else None)
    with pytest.raises(InputError, match='No client answered within 0.3 s'):
        grown(grid, tmp_path, timeout=0.3, prior='proxy')


def test_node_that_fails_once_is_asked_again(flwr, tmp_path, monkeypatch):
    monkeypatch.setattr('ltmm.tasks.federated.flower.messages.RETRY', 0.1)
    clients, failed = AddingClients(), []

    def answer(kind, client, message):
        if kind == 'query' and client == 1 and not failed:
            failed.append(client)
            return error(client, message, None)
        return clients(kind, client, message)

    grid = Grid(answer)
    assert grown(grid, tmp_path, rounds=2, timeout=1.0) == pytest.approx([mean_of(0, 1, 2)] * 2, rel=1e-5)
    assert [x for x in grid.sent if x[0] == 'query'] == [('query', k) for k in (0, 1, 2, 1)]


def test_messages_that_flower_refuses(flwr, caplog):
    remote = RemoteClients(Grid(AddingClients()), list(SIZES), 60.0, logging.getLogger('test_flower'))
    remote.find()
    remote.grid.push_messages = lambda messages: []  # too large
    with caplog.at_level('WARNING', 'test_flower'):
        assert remote.ask([0, 1], content_of({}), 'Round 1') == [None, None]  # at once
    assert 'Round 1: Flower did not send the messages' in caplog.text


def test_a_node_that_says_late_who_it_is_takes_part(flwr):
    clients, held = AddingClients(), []

    def answer(kind, client, message):
        if kind == 'query' and client == 1:
            held.append(message)
            return None
        return clients(kind, client, message)

    remote = RemoteClients(grid := Grid(answer), list(SIZES), 60.0, logging.getLogger('test_flower'))
    pull, looks = grid.pull_messages, itertools.count(1)

    def pull_messages(ids):
        if next(looks) == 3:  # the first is before the round
            grid.answers[held[0].metadata.message_id] = clients('query', 1, held[0])
        return pull(ids)

    grid.pull_messages = pull_messages
    remote.find()
    assert 1 not in remote.nodes
    state = {'w': torch.zeros(2)}
    (answered,) = remote.ask([1], content_of({}, state=state), 'Estimate')
    assert tensors_of(answered, 'state')['w'].tolist() == [2.0, 2.0]


def test_nodes_that_are_no_client_are_left_out(flwr, caplog):
    from flwr.app import Message

    def answer(kind, client, message):
        return Message(content_of({'client': {0: 7}.get(client, client), 'num-examples': 11}), reply_to=message)

    log = logging.getLogger('test_flower')
    remote = RemoteClients(Grid(answer), [10, 11, 0], 0.3, log)
    assert remote.find() == 2
    assert remote.nodes == {1: 101, 2: 102}
    assert remote.sizes == [10, 11, 11]
    remote.grid.answer = lambda kind, client, message: None
    with caplog.at_level('WARNING', 'test_flower'):
        assert remote.ask([2, 0], content_of({}), 'Round 5') == [None, None]
    assert 'Round 5: client 0 is not there.' in caplog.text
    assert 'Round 5: client 2 has not answered within 0.3 s.' in caplog.text


def test_app_of_the_tools(flwr):
    tomllib = pytest.importorskip('tomllib')
    folder = ROOT / 'tools/flower'
    app = tomllib.loads((folder / 'pyproject.toml').read_text())['tool']['flwr']['app']
    assert app['config'].keys() == {'config', 'cfg-options', 'work-dir', 'timeout', 'resume'}
    assert (ROOT / app['config']['config']).is_file()
    built = runpy.run_path(str(folder / 'app.py'))
    assert {type(built[ref.removeprefix('app:')]).__name__ for ref in app['components'].values()} == {
        'ClientApp',
        'ServerApp',
    }


def test_server_without_flower(tmp_path):
    cfg = config(tmp_path)
    cfg.train_cfg.type = 'ltmm.FlowerServerLoop'
    with pytest.raises(InputError, match='flwr run tools/flower'):
        Runner.from_cfg(cfg).train()


def test_missing_flwr(monkeypatch):
    monkeypatch.setattr('ltmm.utils.environment.find_spec', lambda name: None)
    for app in (client_app, server_app):
        with pytest.raises(EnvironmentProblem, match=r'flwr is not installed.*pip install "ltmm\[federated\]"'):
            app()

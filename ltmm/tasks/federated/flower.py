"""Clients on other machines, through Flower: the same rounds, and the same weights, as in one process.

Flower carries the messages. :class:`FlowerServerLoop` is a :class:`FederatedTrainLoop` whose clients are remote; each
client runs a :class:`FlowerClientLoop`. flwr is imported only where it is used.
"""

import math
import platform
import shlex
import sys
import time
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels import LabelTable, class_distribution_of
from ltmm.engine.hooks import ClassDistributionHook
from ltmm.registry import DATASETS, LOOPS
from ltmm.utils.checks import check
from ltmm.utils.configs import load_config
from ltmm.utils.environment import EnvironmentProblem, check_extra
from ltmm.utils.errors import InputError
from ltmm.utils.launch import build_runner
from ltmm.utils.parsers import common_parser
from ltmm.utils.trackers import use_trackers
from ltmm.utils.work_dir import lock_work_dir

from .aggregate import State
from .client import load_state
from .loop import FederatedTrainLoop
from .partition import client_class_counts
from .proxy import class_growth, total_counts

if TYPE_CHECKING:
    from flwr.app import Context, Message, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp

__all__ = ['FlowerClientLoop', 'FlowerServerLoop', 'PlaceholderDataset', 'RemoteClients', 'client_app', 'server_app']

POLL = 0.2  # seconds from one look for answers to the next
RETRY = 30.0  # seconds until a node whose query failed is asked again


class RemoteClients:
    """The clients that Flower reaches, by their index; sends them requests and keeps track of missing answers.

    Args:
        grid: Flower's connection to the nodes.
        sizes: Images of each client, (K,); 0 if unknown; set in place when the client reports it.
        timeout: Seconds to wait for clients at the start, and for the answers of a round.
        log: Logger.
    """

    def __init__(self, grid: 'Grid', sizes: list[int], timeout: float, log: Any) -> None:
        check(timeout=(timeout, '> 0'))
        self.grid, self.sizes, self.timeout, self.log = grid, sizes, timeout, log
        self.nodes: dict[int, int] = {}  # node id of each connected client
        self._next_query: dict[int, float] = {}  # time from which a node may be asked for its client, by node id
        self._queries: dict[str, int] = {}  # node of each open query, by message id
        self._unanswered: dict[str, tuple[int, State]] = {}  # client and the weights that it got, by message id

    def wait(self) -> None:
        """Wait until all clients are connected, or for the timeout; then continue with those that are."""
        end = time.monotonic() + self.timeout
        while self.find() < len(self.sizes) and time.monotonic() < end:
            time.sleep(POLL)
        if not self.nodes:
            raise InputError(f'No client came within {self.timeout} s: start flower-supernode on its machine.')
        self.log.info(f'{len(self.nodes)} of {len(self.sizes)} clients are there.')

    def find(self) -> int:
        """Ask new nodes which client they are, forget those that are gone, and return how many are there."""
        present, now = set(self.grid.get_node_ids()), time.monotonic()
        self.nodes = {client: node for client, node in self.nodes.items() if node in present}
        self._queries = {message: node for message, node in self._queries.items() if node in present}
        self._next_query = {node: self._next_query.get(node, now) for node in present}
        new = sorted(node for node, start in self._next_query.items() if start <= now)
        for node, message in zip(new, self._push('query', new, content_of({}))):
            self._next_query[node] = math.inf
            if message is not None:
                self._queries[message] = node
        for message in self._pull(self._queries):
            node = self._queries.pop(message.metadata.reply_to_message_id)
            if message.has_error():
                self.log.warning(f'Node {node} does not say which client it is: {message.error.reason}')
                self._next_query[node] = now + RETRY
            else:
                self._add(node, message.content['config'])
        return len(self.nodes)

    def _add(self, node: int, answer: Mapping[str, Any]) -> None:
        client, size = int(answer['client']), int(answer['num-examples'])
        if not 0 <= client < len(self.sizes) or size < 1:
            self.log.warning(
                f'Node {node} is left out: expected client 0 to {len(self.sizes) - 1} with images, but it is client '
                f'{client} with {size}.'
            )
        elif self.sizes[client] not in (0, size):
            self.log.warning(
                f'Client {client} is left out: it has {size} images, and {self.sizes[client]} in the split of the '
                'server. Give all machines the same config and data, or set train_cfg.clients to their number.'
            )
        else:
            if client in self.nodes:
                self.log.warning(f'Two nodes are client {client}: the last one counts.')
            self.nodes[client], self.sizes[client] = node, size

    def ask(
        self, clients: Sequence[int], content: 'RecordDict', turn: str, sent: State | None = None
    ) -> list['RecordDict | None']:
        """Send a message to clients, and return the answers in their order; None where there is none in time.

        Args:
            clients: Indices of the clients.
            content: What they are sent.
            turn: Name of the round in the log; MMEngine's logger shows the same warning only once.
            sent: The weights in it; a later answer then is for :meth:`late`.
        """
        end = time.monotonic() + self.timeout
        self.find()
        while self._queries and {*clients} - self.nodes.keys() and time.monotonic() < end:
            time.sleep(POLL)
            self.find()
        for client in sorted({*clients} - self.nodes.keys()):
            self.log.warning(f'{turn}: client {client} is not there.')
        there = [i for i, client in enumerate(clients) if client in self.nodes]
        waiting = dict(zip(self._push('train', [self.nodes[clients[i]] for i in there], content), there))
        if None in waiting:
            self.log.warning(f'{turn}: Flower did not send the messages; the log above says why.')
            del waiting[None]
        answers: list[RecordDict | None] = [None] * len(clients)
        while waiting and time.monotonic() < end:
            for message in self._pull(waiting):
                i = waiting.pop(message.metadata.reply_to_message_id)
                if message.has_error():
                    self.log.warning(f'{turn}: client {clients[i]} is left out. {message.error.reason}')
                else:
                    answers[i] = message.content
            if waiting:
                time.sleep(POLL)
        for message_id, i in waiting.items():
            self.log.warning(f'{turn}: client {clients[i]} has not answered within {self.timeout} s.')
            if sent is not None:
                self._unanswered[message_id] = (clients[i], sent)
        for message_id in list(self._unanswered)[: -len(self.sizes)]:
            del self._unanswered[message_id]  # of a client that is unlikely to answer
        return answers

    def late(self) -> list[tuple[int, State, 'RecordDict']]:
        """Return the clients whose answers to former rounds are here, the weights that they got, and the answers."""
        found = [(*self._unanswered.pop(m.metadata.reply_to_message_id), m) for m in self._pull(self._unanswered)]
        return [(client, sent, message.content) for client, sent, message in found if message.has_content()]

    def _push(self, kind: str, nodes: Sequence[int], content: 'RecordDict') -> list[str | None]:
        """Send a message to nodes; return the id of each, None for one that Flower refuses."""
        from flwr.app import Message

        ids = list(self.grid.push_messages([Message(content, node, kind) for node in nodes])) if nodes else []
        if len(ids) != len(nodes):  # too large for Flower, which refuses all of them
            return [None] * len(nodes)
        return [message or None for message in ids]

    def _pull(self, message_ids: Iterable[str]) -> list['Message']:
        return list(self.grid.pull_messages(list(message_ids))) if message_ids else []


@DATASETS.register_module()
class PlaceholderDataset(BaseDataset):
    """Stands for the training set on a server without data: one label per head and tail class, no images.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        super().__init__()

    def get_label_table(self) -> LabelTable:
        """Return the labels; the names of the classes are unknown."""
        return LabelTable.from_lists([[c] for c in range(self.num_classes)], self.num_classes)

    def load_data_list(self) -> list[dict]:
        return [dict(gt_label=c) for c in range(self.num_classes)]


class _OwnDataLoop(FederatedTrainLoop):
    """The loop where ``clients`` may also be K: then each client has a training set of its own."""

    has_own_data = False

    def _split(self, clients: dict | Sequence[Sequence[int]] | int) -> None:
        if not isinstance(clients, int):
            super()._split(clients)
            return
        check(clients=(clients, 'int >= 1'))
        if self.prior == 'global':
            raise InputError(
                "prior='global' needs the counts of all training data, which a server without data does not have: use "
                "'proxy' or 'local'."
            )
        self.has_own_data, self.num_clients = True, clients


@LOOPS.register_module()
class FlowerServerLoop(_OwnDataLoop):
    """Rounds of federated learning whose clients train on other machines, so that head and tail images stay there.

    Validation, checkpoints and resume are the runner's. The estimate, the choice of clients and the average are those
    of :class:`FederatedTrainLoop`, and so are the weights after each round, for the same seed. A client that is gone,
    fails, or sends other tensors or NaN is left out; an answer after the timeout counts in the next average.

    Args:
        *args: Arguments of :class:`FederatedTrainLoop`; ``clients`` may also be K, the number of clients with training
            sets of their own.
        **kwargs: Arguments of :class:`FederatedTrainLoop`.
    """

    remote: RemoteClients | None = None

    def _split(self, clients: dict | Sequence[Sequence[int]] | int) -> None:
        if 'estimate' in self.published:
            raise InputError("published=['estimate'] needs all clients in one process.")
        super()._split(clients)
        if self.has_own_data:
            self.sizes = [0] * self.num_clients  # until they say
            self.distribution = class_distribution_of(self.dataloader.dataset)  # of the placeholder, until the estimate

    def _steps_per_client(self) -> float:
        return 0.0  # the server takes no steps

    def run(self) -> torch.nn.Module:
        if self.remote is None:
            raise InputError('FlowerServerLoop runs in a server of Flower: flwr run tools/flower.')
        if self.estimate is not None:  # of the resumed checkpoint
            self._use_estimate()
        return super().run()

    def connect(self, grid: 'Grid', timeout: float = 3600.0) -> None:
        """Wait for the clients.

        Args:
            grid: Flower's connection to the nodes.
            timeout: Seconds to wait for clients now, and for the answers of each round.
        """
        self.remote = RemoteClients(grid, self.sizes, timeout, self.runner.logger)
        self.remote.wait()

    def train_clients(self, clients: Sequence[int], state: State, expert: int | None) -> Iterable[State | None]:
        request = self._request('round', expert)
        if self.prior != 'local':
            request['counts'] = self.common_distribution().instance_counts.tolist()
        turn = f'Round {self._epoch + 1}' + ('' if expert is None else f', expert {expert}')
        answers = self.remote.ask(clients, content_of(request, state=state), turn, state)
        return [None if answer is None else tensors_of(answer, 'state', state) for answer in answers]

    def arrived_late(self) -> list[dict]:
        found = [(k, sent, tensors_of(answer, 'state', sent)) for k, sent, answer in self.remote.late()]
        return [self.late_change(*late) for late in found if self.is_valid(late[0], late[2], late[1])]

    def estimated_growth(self, state: State) -> Tensor:
        content = content_of(self._request('estimate'), state=state)
        answers = self.remote.ask(range(self.num_clients), content, 'Estimate')
        if answers == [None] * self.num_clients:
            raise InputError(f'No client answered within {self.remote.timeout} s: their logs say why; raise timeout.')
        unknown = torch.full((self._classifier_weight().shape[1],), torch.nan)
        found = [{} if answer is None else tensors_of(answer, 'growth') for answer in answers]
        growth = [tensors.get('growth', unknown) for tensors in found]
        return torch.stack([x if x.shape == unknown.shape else unknown for x in growth])

    @property
    def needs_estimate(self) -> bool:
        return super().needs_estimate or self.has_own_data  # for the metrics and the checkpoints

    def _use_estimate(self) -> None:
        """Give the estimated class counts to the metrics, and to checkpoints, in place of those of the placeholder."""
        if not self.has_own_data:
            return
        self.distribution = self.estimated_distribution()
        for hook in self.runner.hooks:
            if isinstance(hook, ClassDistributionHook):
                hook.set_distribution(self.runner, self.distribution)

    def _estimate(self) -> None:
        super()._estimate()
        self._use_estimate()

    def log_estimate(self, estimate: Tensor) -> None:
        if not self.has_own_data:
            super().log_estimate(estimate)
            return
        self.runner.logger.info(f'Estimated class counts: {total_counts(estimate, self.min_count).tolist()}.')

    def _request(self, task: str, expert: int | None = None) -> dict[str, Any]:
        expert = -1 if expert is None else expert
        return {'task': task, 'round': self._epoch, 'expert': expert, 'seed': int(self.runner.seed)}


@LOOPS.register_module()
class FlowerClientLoop(_OwnDataLoop):
    """A client of :class:`FlowerServerLoop`, which answers one message by training on its own head and tail classes.

    Args:
        *args: Arguments of :class:`FederatedTrainLoop`; where ``clients`` is K, all of ``train_dataloader`` is the
            client's own.
        **kwargs: Arguments of :class:`FederatedTrainLoop`.
    """

    def _split(self, clients: dict | Sequence[Sequence[int]] | int) -> None:
        super()._split(clients)
        if self.has_own_data:
            table = LabelTable.from_dataset(self.dataloader.dataset)
            self.clients = [np.arange(len(table.labels))] * self.num_clients  # the same data under each index
            self.counts = client_class_counts(table.labels, self.clients, table.num_classes)
            self.sizes = [len(table.labels)] * self.num_clients

    def _steps_per_client(self) -> float:
        return float(len(self.build_loader(0)))

    def answer(self, client: int, request: Mapping[str, Any], state: State) -> dict[str, State]:
        """Train on the images of a client.

        Args:
            client: Index of the client.
            request: Settings of the message.
            state: Weights of the server.

        Returns:
            The new weights as ``state``, or the growth of the classifier as ``growth``.
        """
        self.client, self.request, self.state = client, request, state
        self._epoch = request['round']
        self.runner.train()
        return self.reply

    def run(self) -> torch.nn.Module:
        """Train, once the runner is ready."""
        self.check_optimizer()
        self.runner.call_hook('before_train')
        self._step_schedules()
        self.runner.call_hook('before_train_epoch')
        task = self._grow if self.request['task'] == 'estimate' else self._train_round
        self.reply = task()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _step_schedules(self) -> None:
        """Bring the schedules to the round, as :class:`ParamSchedulerHook` does after each one."""
        for scheduler in self.runner.param_schedulers or []:
            if not scheduler.by_epoch or getattr(scheduler, 'need_val_args', False):
                raise InputError(
                    f'A remote client knows the round only, so that param_scheduler has to go by epochs, but got '
                    f'{type(scheduler).__name__} with by_epoch={scheduler.by_epoch}.'
                )
            with warnings.catch_warnings():
                warnings.filterwarnings('ignore', message='Detected call of `scheduler.step')  # before the first step
                for _ in range(self._epoch):
                    scheduler.step()

    def _grow(self) -> dict[str, State]:
        load_state(self.model, self.state)
        before = self._classifier_weight()
        growth = class_growth(before, self._weight_after_cross_entropy(self.client, self.state)).cpu()
        if self.noise is not None:
            generator = torch.Generator()
            generator.seed()  # not the seed of the run: the server knows that one, and could take the noise away
            growth = self.noise(growth.unsqueeze(0), generator)[0]
        return dict(growth=dict(growth=growth))

    def _train_round(self) -> dict[str, State]:
        expert = self.request['expert']
        new = self._train(self.client, self.state, None if expert < 0 else expert)
        if new is None:
            raise FloatingPointError(f'The loss of client {self.client} is not finite; see its log.')
        return dict(state=new)

    def common_distribution(self) -> ClassDistribution:
        return ClassDistribution(list(self.request['counts']))


def content_of(settings: Mapping[str, Any], **tensors: State) -> 'RecordDict':
    """Pack settings and tensors into the content of a message.

    Args:
        settings: Numbers, strings or lists of them, by name.
        **tensors: Tensors by name.
    """
    from flwr.app import ArrayRecord, ConfigRecord, RecordDict

    arrays = {name: ArrayRecord({n: v.cpu() for n, v in state.items()}) for name, state in tensors.items()}
    return RecordDict({'config': ConfigRecord(dict(settings)), **arrays})


def tensors_of(content: 'RecordDict', name: str, like: State | None = None) -> State:
    """Unpack tensors of :func:`content_of`; an empty dict if the content is not as expected.

    Args:
        content: Content of a message.
        name: Name of the tensors.
        like: Tensors on whose devices the new ones go.
    """
    try:
        state = dict(content[name].to_torch_state_dict())
    except (AttributeError, EOFError, KeyError, TypeError, ValueError):
        return {}
    return {n: v.to(like[n].device) if like and n in like else v for n, v in state.items()}


def _check_flower() -> None:
    if sys.version_info < (3, 11):
        raise EnvironmentProblem(f'Flower needs Python >= 3.11, but this is {platform.python_version()}.')
    check_extra('federated', 'flwr')


def client_app() -> 'ClientApp':
    """Return the app of a client, which trains as the config says on the images of its ``partition-id``.

    The run's config has ``config``, the path of a config with a :class:`FederatedTrainLoop`, and ``cfg-options``. The
    node's has ``partition-id``, the index of the client, and may have ``cfg-options`` of its own.
    """
    _check_flower()
    from flwr.app import Message
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.query()
    def query(message: Message, context: 'Context') -> Message:
        with TemporaryDirectory() as folder:
            client, loop = _client_of(context, folder)
            return Message(content_of({'client': client, 'num-examples': loop.sizes[client]}), reply_to=message)

    @app.train()
    def train(message: Message, context: 'Context') -> Message:
        request = message.content['config']
        with TemporaryDirectory() as folder:
            client, loop = _client_of(context, folder, request['seed'])
            answer = loop.answer(client, request, tensors_of(message.content, 'state'))
        return Message(content_of({}, **answer), reply_to=message)

    return app


def server_app() -> 'ServerApp':
    """Return the app of the server, which runs the rounds, validates and writes checkpoints as the config says.

    The run's config has ``config``, the path of a config with a :class:`FederatedTrainLoop`, and may have
    ``cfg-options``, ``work-dir``, ``timeout`` in seconds, and ``resume``.
    """
    _check_flower()
    from flwr.serverapp import ServerApp

    app = ServerApp()

    @app.main()
    def main(grid: 'Grid', context: 'Context') -> None:
        run = context.run_config
        cfg = _read(run, 'ltmm.FlowerServerLoop')
        if isinstance(cfg.train_cfg.clients, int):
            cfg.train_dataloader.dataset = dict(type='ltmm.PlaceholderDataset', num_classes=cfg.model.head.num_classes)
            for hook in cfg.custom_hooks:
                if hook.type == 'ltmm.ClassDistributionHook':
                    hook.max_table_rows = 0  # nobody knows the counts yet
            cfg.train_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
        cfg.param_scheduler = None  # only clients step schedules
        lock_work_dir(cfg.work_dir)
        cfg.resume = bool(run.get('resume', False))
        use_trackers(cfg)
        runner = build_runner(cfg)
        runner.train_loop.connect(grid, float(run.get('timeout', 3600)))
        runner.train()

    return app


def _read(run: Mapping[str, Any], loop: str, own: str = '') -> Config:
    """Read the config of a run, with the options of a node, for another loop."""
    words, options = [run['config']], shlex.split(f'{run.get("cfg-options", "")} {own}')
    words += ['--work-dir', run['work-dir']] if run.get('work-dir') else []
    words += ['--cfg-options', *options] if options else []
    cfg = load_config(common_parser('A run of Flower.').parse_args(words))
    if cfg.train_cfg.get('type') != 'ltmm.FederatedTrainLoop':
        found = cfg.train_cfg.get('type')
        raise InputError(f'{run["config"]}: expected train_cfg.type to be ltmm.FederatedTrainLoop, but got {found}.')
    cfg.train_cfg.type = loop
    return cfg


def _client_of(context: 'Context', work_dir: str, seed: int | None = None) -> tuple[int, FlowerClientLoop]:
    """Build the loop of a node; return the index of its client, too."""
    node = context.node_config
    if node.get('partition-id') is None:
        raise InputError("A client needs its index: flower-supernode --node-config 'partition-id=0'.")
    cfg = _read({**context.run_config, 'work-dir': work_dir}, 'ltmm.FlowerClientLoop', node.get('cfg-options', ''))
    for name in ('val', 'test'):
        cfg.update({f'{name}_cfg': None, f'{name}_dataloader': None, f'{name}_evaluator': None})
    cfg.load_from, cfg.resume, cfg.experiment_name = None, False, uuid.uuid4().hex  # the server sends the weights
    cfg.default_hooks.checkpoint = None
    cfg.visualizer = dict(type='Visualizer')
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    client, loop = int(node['partition-id']), build_runner(cfg).train_loop
    if not 0 <= client < loop.num_clients:
        raise InputError(
            f'Expected partition-id to be in 0 to {loop.num_clients - 1}, but got {client}: set it in --node-config.'
        )
    return client, loop

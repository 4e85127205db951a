"""Training loops of a server of Flower and of its clients."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels import LabelTable, class_distribution_of
from ltmm.engine.hooks import ClassDistributionHook
from ltmm.registry import DATASETS, LOOPS
from ltmm.tasks.federated.aggregate import State
from ltmm.tasks.federated.client import load_state
from ltmm.tasks.federated.loop import FederatedTrainLoop
from ltmm.tasks.federated.partition import client_class_counts
from ltmm.tasks.federated.proxy import class_growth, total_counts
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .messages import RemoteClients, content_of, tensors_of

if TYPE_CHECKING:
    from flwr.serverapp import Grid

__all__ = ['FlowerClientLoop', 'FlowerServerLoop', 'PlaceholderDataset']


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

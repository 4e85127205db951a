"""Training loop whose epochs are rounds of federated learning."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed
from mmengine.utils import ProgressBar
from torch import Tensor
from torch.utils.data import DataLoader

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels import LabelTable, class_distribution_of
from ltmm.models.state.class_distribution import set_class_distribution
from ltmm.registry import LOOPS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError
from ltmm.utils.wrappers import unwrap_model

from .aggregate import ClientUpdate, State, fedavg, why_invalid
from .client import copy_state, cross_entropy_step, load_state, train_client
from .partition import ClientData, check_clients, client_class_counts, dirichlet_partition
from .proxy import ProxyNoise, class_growth, estimate_counts, in_place_growth, total_counts
from .selection import group_clients, select_clients, select_from_group

__all__ = ['ExpertRounds', 'Faults', 'FederatedTrainLoop']

KEY = 'federated'  # of the server's state in a checkpoint's message hub
PRIORS = ('proxy', 'global', 'local')
PUBLISHED = ('estimate', 'draws')


@dataclass(frozen=True)
class ExpertRounds:
    """Rounds in which each expert in turn trains on clients of its group.

    Args:
        start: Share of the rounds before them, with all experts at random clients.
        share: Share of the clients of a round that come from the group; 0.8 in the README of [1], 0.5 its default.
    """

    start: float = 0.6
    share: float = 0.8

    def __post_init__(self) -> None:
        check(start=(self.start, 'in [0, 1]'), share=(self.share, 'in [0, 1]'))


@dataclass(frozen=True)
class Faults:
    """Faults of clients to simulate, drawn for each client of a round by the seed of the run.

    Args:
        drop_out: Probability that a client never answers.
        late: Probability that its weights arrive with the next average.
        invalid: Probability that it sends NaN.
    """

    drop_out: float = 0.0
    late: float = 0.0
    invalid: float = 0.0

    def __post_init__(self) -> None:
        check(drop_out=(self.drop_out, 'in [0, 1]'), late=(self.late, 'in [0, 1]'), invalid=(self.invalid, 'in [0, 1]'))
        if self.drop_out + self.late + self.invalid > 1:
            raise InputError(f'Faults: expected probabilities with a sum <= 1, but got {self}.')

    def draw(self, generator: np.random.Generator) -> str:
        """Return ``'drop_out'``, ``'late'``, ``'invalid'`` or ``''``."""
        bounds = np.cumsum([self.drop_out, self.late, self.invalid])
        return ('drop_out', 'late', 'invalid', '')[int(np.searchsorted(bounds, generator.random(), side='right'))]


@LOOPS.register_module()
class FederatedTrainLoop(EpochBasedTrainLoop):
    """Federated learning in one process: rounds of local training at some clients, then an average of their weights.

    An epoch of the runner is a round: hooks, schedules, validation and checkpoints count rounds, and a resumed run goes
    on exactly after the last one. One model stands for all clients; a client is a part of ``train_dataloader.dataset``,
    with the batch size and the sampler of ``train_dataloader``, and an optimizer without memory. Each call of a client
    is seeded by its number and the round, so that its weights do not depend on where and when the others train: on
    many machines they are the same, see :mod:`ltmm.tasks.federated.flower`.

    The losses of the clients get the class distribution that ``prior`` says. ``'proxy'`` is that of GBME: before the
    first round each client trains one epoch by plain cross entropy, and the growth of the classifier tells the server
    about how many images of each class all have, see :func:`estimate_counts`. Classes that are frequent at one client
    are rare at another; a common prior is what keeps the rare ones of all in balance. With ``experts`` the last rounds
    train each expert at a group of clients, from those rich in frequent classes to those rich in rare ones, see
    :func:`group_clients`.

    A client that drops out, or whose loss is not finite, is left out of the average. So is one that sends other tensors
    or NaN. What arrives late is added as a change to the weights of the next average, with
    ``late_weight`` times its images. A round without any valid client leaves the weights as they are.

    [0] Zeng et al., Global Balanced Experts for Federated Long-tailed Learning, ICCV 2023.
    [1] github.com/Spinozaaa/Federated-Long-tailed-Learning @9944e7a, ``FedAvgAPI``. Reproduces [1] to 1e-6 with
        ``published`` (tests/conformance, ``trajectory_gbme``), but for the average that its loop forgets before the
        expert rounds.

    Args:
        runner: Runner.
        dataloader: Config of the dataloader of all training data.
        max_rounds: T.
        clients: Arguments of :func:`dirichlet_partition` without labels (``num_clients``, ``alpha``, ``min_size``, and
            the seed, ``generator``), or the list of image indices of each client. With Flower also K,
            where each client has a training set of its own.
        clients_per_round: m.
        local_epochs: Passes of a client over its data in a round.
        prior: Prior in the losses: ``'proxy'``; ``'global'``, the counts of all training data, which no server knows;
            or ``'local'``, the counts of each client: absent classes leave its softmax; in [1] they count 0.1 images.
        experts: Arguments of :class:`ExpertRounds`; None for none.
        proximal: Strength of FedProx; 0 for FedAvg.
        noise: Arguments of :class:`ProxyNoise`; None for none.
        min_count: Lower bound of the estimated images of a class.
        classifier: Name of the last layer, or of that of all experts.
        faults: Arguments of :class:`Faults` to simulate; None for none.
        late_weight: Factor of the weight of late clients; 0 ignores them.
        published: What to do as [1] does though it should not. ``'estimate'``: the reference of the estimates drifts,
            see :func:`in_place_growth`. ``'draws'``: all experts of a round draw with one seed, the number of the
            round, and some clients twice, see :func:`select_from_group`.
        val_begin: First round with a validation.
        val_interval: Rounds from one validation to the next.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        max_rounds: int,
        clients: dict | Sequence[Sequence[int]] | int,
        clients_per_round: int,
        local_epochs: int = 1,
        prior: str = 'proxy',
        experts: dict | None = None,
        proximal: float = 0.0,
        noise: dict | None = None,
        min_count: int = 5,
        classifier: str = 'head.fc',
        faults: dict | None = None,
        late_weight: float = 0.5,
        published: Sequence[str] = (),
        val_begin: int = 1,
        val_interval: int = 1,
    ) -> None:
        check(
            max_rounds=(max_rounds, 'int >= 1'),
            clients_per_round=(clients_per_round, 'int >= 1'),
            local_epochs=(local_epochs, 'int >= 1'),
            prior=(prior, PRIORS),
            proximal=(proximal, '>= 0'),
            min_count=(min_count, 'int >= 1'),
            late_weight=(late_weight, 'in [0, 1]'),
        )
        if not isinstance(dataloader, dict):
            raise InputTypeError(
                f'FederatedTrainLoop expects the config of a dataloader, got {type(dataloader).__name__}.'
            )
        if get_world_size() > 1:
            raise InputError(f'FederatedTrainLoop runs in one process, but there are {get_world_size()}: use one GPU.')
        if isinstance(published, str) or not {*published} <= {*PUBLISHED}:
            raise InputError(f'Expected `published` to be a list of some of {list(PUBLISHED)}, but got {published!r}.')
        if noise is not None and ('estimate' in published or (prior != 'proxy' and experts is None)):
            raise InputError(
                "`noise` is for the estimate: it needs prior='proxy' or `experts`, and no published=['estimate']."
            )
        self._loader_cfg = copy.deepcopy(dataloader)
        super().__init__(runner, dataloader, max_rounds, val_begin, val_interval)
        self.clients_per_round, self.local_epochs, self.prior, self.proximal = (
            clients_per_round,
            local_epochs,
            prior,
            proximal,
        )
        self.experts = _settings(ExpertRounds, 'experts', experts)
        self.noise = _settings(ProxyNoise, 'noise', noise)
        self.faults = _settings(Faults, 'faults', faults) or Faults()
        self.min_count, self.classifier = min_count, classifier
        self.late_weight, self.published = late_weight, frozenset(published)
        self._data: dict[int, ClientData] = {}
        self._split(clients)
        if clients_per_round > self.num_clients:
            raise InputError(
                f'Expected `clients_per_round` <= {self.num_clients} clients, but got {clients_per_round}.'
            )
        steps = self._steps_per_client() * local_epochs * clients_per_round
        turns = max_rounds
        if self.experts is not None:
            turns += (len(self._classifier_weight()) - 1) * (max_rounds - self._first_expert_round)
        self._max_iters = int(steps * turns)  # on average, for the remaining time in the log
        runner.message_hub.update_info(KEY, {})

    def _split(self, clients: dict | Sequence[Sequence[int]] | int) -> None:
        if isinstance(clients, int):
            raise InputError(f'clients={clients}, with data of their own, needs Flower: flwr run tools/flower.')
        dataset = self.dataloader.dataset
        table = LabelTable.from_dataset(dataset)
        if not table.is_single_label:
            raise InputError(f'FederatedTrainLoop needs one label per image, which {type(dataset).__name__} has not.')
        if isinstance(clients, dict):
            self.clients = dirichlet_partition(table.labels, **clients)
        else:
            self.clients = check_clients(clients, len(dataset))
        self.counts = client_class_counts(table.labels, self.clients, table.num_classes)  # (K, C)
        self.distribution = class_distribution_of(dataset)
        self.num_clients, self.sizes = len(self.clients), [len(chosen) for chosen in self.clients]

    def _steps_per_client(self) -> float:
        """Return the mean number of batches of a client."""
        return sum(len(self.build_loader(k)) for k in range(self.num_clients)) / self.num_clients

    def build_loader(self, client: int) -> DataLoader:
        """Build the loader of a client; its workers end with it.

        Args:
            client: Index of the client.
        """
        if client not in self._data:  # reading the labels takes time
            self._data[client] = ClientData(self.dataloader.dataset, self.clients[client])
        cfg = dict(copy.deepcopy({**self._loader_cfg, 'dataset': None}), dataset=self._data[client])
        seed = self.runner.seed
        loader = self.runner.build_dataloader(cfg, seed=None if seed is None else seed + client)
        loader.worker_init_fn = None  # as EpochSeedHook does for the training data
        return loader

    @property
    def model(self) -> torch.nn.Module:
        """The model that stands for all clients."""
        return unwrap_model(self.runner.model)

    @property
    def _first_expert_round(self) -> int:
        return int(self.experts.start * self._max_epochs + 1e-9)

    @property
    def estimate(self) -> Tensor | None:
        """Estimated images per client and class, (K, C); None before they are known."""
        return self.runner.message_hub.get_info(KEY).get('estimate')

    @property
    def needs_estimate(self) -> bool:
        """Whether rounds need the estimated class counts."""
        return self.prior == 'proxy' or self.experts is not None

    def check_optimizer(self) -> None:
        """Raise unless the model has one optimizer."""
        if not isinstance(self.runner.optim_wrapper, OptimWrapper):
            raise InputTypeError('FederatedTrainLoop expects one optimizer, not an OptimWrapperDict.')

    def run_epoch(self) -> None:
        """Run one round."""
        self.runner.call_hook('before_train_epoch')
        self.check_optimizer()
        if self.estimate is None and self.needs_estimate:
            self._estimate()
        state = copy_state(self.model)
        for expert, clients in self.turns():
            state = self._communicate(state, clients, expert)
        load_state(self.model, state)
        set_class_distribution(self.model, self.distribution)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    # ------------------------------------------------------------------ who takes part

    def turns(self) -> list[tuple[int | None, list[int]]]:
        """Return the expert to train, None for all, and the clients, for each average of this round."""
        if self.experts is None or self._epoch < self._first_expert_round:
            chosen = select_clients(self.num_clients, self.clients_per_round, self._generator(None))
            return [(None, chosen.tolist())]
        counts = self.estimate.numpy()
        num_experts = len(self._classifier_weight())
        groups = group_clients(counts, counts.sum(0).clip(min=self.min_count), num_experts)
        return [
            (
                e,
                select_from_group(
                    group,
                    self.num_clients,
                    self.clients_per_round,
                    self.experts.share,
                    self._generator(e),
                    'draws' in self.published,
                ).tolist(),
            )
            for e, group in enumerate(groups)
        ]

    def _generator(self, expert: int | None, purpose: int = 0) -> np.random.Generator | np.random.RandomState:
        if 'draws' in self.published and not purpose:
            return np.random.RandomState(self._epoch + 1)
        return np.random.default_rng([self.runner.seed, self._epoch, 0 if expert is None else expert + 1, purpose])

    # ------------------------------------------------------------------ a round

    def _communicate(self, state: State, clients: Sequence[int], expert: int | None) -> State:
        """Train clients from a state, and return the average of what arrives."""
        log, generator = self.runner.logger, self._generator(expert, purpose=1)
        server = self.runner.message_hub.get_info(KEY)
        late = [*server.pop('late', []), *self.arrived_late()]
        changes = [
            ClientUpdate(
                item['client'], item['weight'] * self.late_weight, {n: v + item['change'][n] for n, v in state.items()}
            )
            for item in late
            if self.late_weight
        ]
        server['late'], updates = [], []
        faults = [(k, self.faults.draw(generator)) for k in clients]
        for k in [k for k, fault in faults if fault == 'drop_out']:
            log.warning(f'Round {self._epoch + 1}: client {k} dropped out.')
        asked = [(k, fault) for k, fault in faults if fault != 'drop_out']
        for (k, fault), new in zip(asked, self.train_clients([k for k, _ in asked], state, expert), strict=True):
            if fault == 'invalid':
                new = {n: v * float('nan') if v.is_floating_point() else v for n, v in new.items()}
            if not self.is_valid(k, new, state):
                continue
            if fault == 'late':
                log.warning(f'Round {self._epoch + 1}: client {k} is late.')
                server['late'].append(self.late_change(k, state, new))
            else:
                updates.append(ClientUpdate(k, self.sizes[k], new))
        self.runner.message_hub.update_info(KEY, server)
        updates = [*changes, *updates]
        if not updates:
            log.warning(f'Round {self._epoch + 1}: no client sent valid weights; they stay as they are.')
            return state
        return fedavg([update.state for update in updates], [update.weight for update in updates])

    def is_valid(self, client: int, new: State | None, sent: State) -> bool:
        """Return whether the weights of a client may be averaged; log why not.

        Args:
            client: Index of the client.
            new: Its weights; None where it sent none.
            sent: The weights that it was sent.
        """
        reason = None if new is None else why_invalid(new, sent)
        if reason is not None:
            self.runner.logger.warning(f'Round {self._epoch + 1}: client {client} is left out, as it sent {reason}.')
        return new is not None and reason is None

    def late_change(self, client: int, sent: State, new: State) -> dict:
        """Return what is kept of a late client: its change to the weights that it was sent.

        Args:
            client: Index of the client.
            sent: The weights that it was sent.
            new: Its weights.
        """
        return dict(client=client, weight=self.sizes[client], change={n: v - sent[n] for n, v in new.items()})

    def arrived_late(self) -> list[dict]:
        """Return the changes by clients whose answers to former rounds have arrived; none in one process."""
        return []

    def train_clients(self, clients: Sequence[int], state: State, expert: int | None) -> Iterable[State | None]:
        """Train clients from the weights of the server, and give the new weights in the order of the clients.

        Args:
            clients: Indices of the clients.
            state: Weights of the server.
            expert: The only expert to train; None for all.

        Returns:
            Weights of each client; None where it gives none.
        """
        return (self._train(k, state, expert) for k in clients)

    def _train(self, client: int, state: State, expert: int | None) -> State | None:
        """Train one client; None where its loss is not finite."""
        set_class_distribution(self.model, self._distribution_of(client))
        self._seed(client, expert)
        index = 0

        def step(_: int, batch: Any) -> None:
            nonlocal index
            self.run_iter(index, batch)
            index += 1

        try:
            return train_client(
                self.model,
                state,
                self.build_loader(client),
                self.runner.optim_wrapper,
                epochs=self.local_epochs,
                proximal=self.proximal,
                expert=expert,
                step=step,
                first_epoch=self._epoch * self.local_epochs,
            )
        except FloatingPointError as e:  # of InvalidLossHook
            self.runner.logger.warning(f'Round {self._epoch + 1}: client {client} is left out. {e}')
            return None

    def _seed(self, client: int, expert: int | None = None, purpose: int = 0) -> None:
        """Seed what a client draws, such as its augmentations."""
        numbers = [self.runner.seed, self._epoch, 0 if expert is None else expert + 1, client, purpose]
        set_random_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))

    # ------------------------------------------------------------------ class distributions

    def _distribution_of(self, client: int) -> ClassDistribution:
        """Return the prior in the losses of a client."""
        if self.prior == 'local':
            return ClassDistribution(self.counts[client])
        return self.common_distribution()

    def common_distribution(self) -> ClassDistribution:
        """Return the prior in the losses of all clients, where they have a common one."""
        return self.distribution if self.prior == 'global' else self.estimated_distribution()

    def estimated_distribution(self) -> ClassDistribution:
        """Return the sum of the estimated class counts of all clients."""
        return ClassDistribution(total_counts(self.estimate, self.min_count).numpy())

    def _classifier_weight(self) -> Tensor:
        """Return copies of the weights of the last layer, (E, C, D)."""
        parameters = self.model.get_submodule(self.classifier).named_parameters()
        weights = [value.detach().clone() for name, value in parameters if name.endswith('weight') and value.dim() == 2]
        if not weights:
            raise InputError(f'FederatedTrainLoop: no weight (C, D) in classifier={self.classifier!r} of the model.')
        return torch.stack(weights)

    def estimated_growth(self, state: State) -> Tensor:
        """Train each client for one epoch of plain cross entropy; return the growth of the classifier, (K, C).

        Args:
            state: Weights of the server.
        """
        before, after = self._classifier_weight(), []
        bar = ProgressBar(self.num_clients)
        for k in range(self.num_clients):
            after.append(self._weight_after_cross_entropy(k, state))
            bar.update()
        load_state(self.model, state)
        if 'estimate' in self.published:
            growth, drifted = in_place_growth(before, torch.stack(after))
            first = next(self.model.get_submodule(self.classifier).parameters())
            with torch.no_grad():
                first.copy_(drifted)
        else:
            growth = torch.stack([class_growth(before, weight) for weight in after])
        if self.noise is not None:
            growth = self.noise(growth.cpu(), torch.Generator().manual_seed(self.runner.seed))
        return growth.cpu()

    def _weight_after_cross_entropy(self, client: int, state: State) -> Tensor:
        """Train a client for one epoch of plain cross entropy; return the weights of its last layer, (E, C, D)."""
        self._seed(client, purpose=1)
        step = cross_entropy_step(self.model, self.runner.optim_wrapper)
        train_client(self.model, state, self.build_loader(client), self.runner.optim_wrapper, step=step)
        return self._classifier_weight()

    def _estimate(self) -> None:
        """Estimate the class counts of all clients from the growth of their classifiers."""
        log = self.runner.logger
        log.info(f'Estimating the class counts of {self.num_clients} clients.')
        growth = self.estimated_growth(copy_state(self.model))
        if self.noise is not None:
            log.info(
                f'Noise on the estimated class counts: epsilon {self.noise.epsilon():.3g} per client. The weights of '
                'the rounds are sent without noise.'
            )
        estimate = estimate_counts(growth, torch.tensor(self.sizes))
        server = self.runner.message_hub.get_info(KEY)
        self.runner.message_hub.update_info(KEY, dict(server, estimate=estimate))
        self.log_estimate(estimate)

    def log_estimate(self, estimate: Tensor) -> None:
        """Log how good the estimate is.

        Args:
            estimate: Estimated images per client and class, (K, C).
        """
        found, true = total_counts(estimate, self.min_count).double(), torch.tensor(self.counts.sum(0)).double()
        self.runner.logger.info(
            f'Estimated class counts of {self.num_clients} clients; cosine to the true total '
            f'{torch.cosine_similarity(found, true, dim=0).item():.3f}.'
        )


def _settings(kind: type, name: str, values: dict | None) -> Any:
    """Build the settings of one argument; None for None."""
    if values is None:
        return None
    known = [field.name for field in fields(kind)]
    if not isinstance(values, dict) or not values.keys() <= {*known}:
        raise InputError(f'Expected `{name}` to be a dict with keys of {known}, but got {values!r}.')
    return kind(**values)

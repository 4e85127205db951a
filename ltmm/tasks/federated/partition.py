"""Split a training set into the data of clients."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltmm.datasets.labels import LabelTable
from ltmm.datasets.wrappers.selection import Selection
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['ClientData', 'check_clients', 'client_class_counts', 'dirichlet_partition']

MAX_DRAWS = 1000


def dirichlet_partition(
    labels: Sequence[int],
    num_clients: int,
    alpha: float,
    min_size: int = 10,
    generator: np.random.RandomState | int = 0,
) -> list[np.ndarray]:
    r"""Spread each class over the clients by Dirichlet shares, so that every client has a tail of its own.

    The images of class c, in random order, are cut by shares :math:`p \sim \mathrm{Dir}(\alpha, \dots, \alpha)` over
    the K clients; clients that already hold N / K images get no share of further classes. The whole draw is repeated
    until every client has ``min_size`` images. A small alpha leaves each client few classes; a large one gives all the
    same.

    [0] Hsu et al., Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification,
        arXiv 1909.06335.
    [1] github.com/Spinozaaa/Federated-Long-tailed-Learning @9944e7a, ``partition_data``. Equal to [1] index by index
        (tests/conformance, ``fed_partition``).

    Args:
        labels: Class indices of the N images, (N,).
        num_clients: K.
        alpha: Concentration; 0.1 in [1].
        min_size: Fewest images of a client; 10 in [1], 100 for ImageNet-LT.
        generator: Generator, or its seed.

    Returns:
        The image indices of each client, in random order.
    """
    check(num_clients=(num_clients, 'int >= 1'), alpha=(alpha, '> 0'), min_size=(min_size, 'int >= 0'))
    labels = np.asarray(labels)
    if num_clients * max(min_size, 1) > len(labels):
        raise InputError(
            f'Expected at least {num_clients * max(min_size, 1)} images for num_clients={num_clients} of '
            f'min_size={min_size}, but got {len(labels)}.'
        )
    if not isinstance(generator, np.random.RandomState):
        generator = np.random.RandomState(generator)
    for _ in range(MAX_DRAWS):
        clients = _draw(labels, num_clients, alpha, generator)
        if clients is not None and min(map(len, clients)) >= min_size:
            for indices in clients:
                generator.shuffle(indices)
            return clients
    raise InputError(
        f'No split of {len(labels)} images with min_size={min_size} in {MAX_DRAWS} draws: raise alpha={alpha}, or '
        f'lower min_size or num_clients={num_clients}.'
    )


def _draw(
    labels: np.ndarray, num_clients: int, alpha: float, generator: np.random.RandomState
) -> list[np.ndarray] | None:
    """Return one draw; None where all of a class would go to clients that are full."""
    parts: list[list[np.ndarray]] = [[] for _ in range(num_clients)]
    sizes = np.zeros(num_clients, dtype=np.int64)
    for c in range(labels.max() + 1):
        indices = np.flatnonzero(labels == c)
        generator.shuffle(indices)
        shares = generator.dirichlet(np.full(num_clients, alpha)) * (sizes < len(labels) / num_clients)
        if not shares.sum() > 0:
            return None
        cuts = (np.cumsum(shares / shares.sum()) * len(indices)).astype(int)[:-1]
        for part, piece in zip(parts, np.split(indices, cuts)):
            part.append(piece)
        sizes = np.array([sum(map(len, part)) for part in parts])
    return [np.concatenate(part) for part in parts]


def check_clients(clients: Sequence[Sequence[int]], num_samples: int) -> list[np.ndarray]:
    """Check given lists of image indices, one per client: every client has images, and none is in two lists.

    Args:
        clients: Indices of the images of each client.
        num_samples: Size of the training set.
    """
    arrays = [np.asarray(indices) for indices in clients]
    for k, indices in enumerate(arrays):
        if indices.ndim != 1 or not len(indices) or indices.dtype.kind not in 'iu':
            raise InputError(f'Client {k}: expected a list of image indices, but got {clients[k]!r}.')
        if indices.min() < 0 or indices.max() >= num_samples:
            raise InputError(
                f'Client {k}: expected indices in [0, {num_samples}), but got {indices.min()} to {indices.max()}.'
            )
    values, times = np.unique(np.concatenate(arrays), return_counts=True)
    if times.max() > 1:
        raise InputError(f'Expected each image at one client, but image {values[times.argmax()]} has {times.max()}.')
    return arrays


def client_class_counts(labels: Sequence[int], clients: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    """Count the images per client and class, (K, C).

    Args:
        labels: Class indices of all images, (N,).
        clients: Image indices of each client.
        num_classes: C.
    """
    labels = np.asarray(labels)
    return np.stack([np.bincount(labels[indices], minlength=num_classes) for indices in clients])


class ClientData(Selection):
    """The images of one client, as a data set: counts and samplers see its own labels.

    Args:
        dataset: The whole training set.
        chosen: Indices of the client's images, in their order.
    """

    def __init__(self, dataset: Any, chosen: Sequence[int]) -> None:
        self.chosen = np.asarray(chosen)
        super().__init__(dataset)

    def __deepcopy__(self, memo: dict) -> 'ClientData':
        return self  # MMEngine copies the config of a loader, and would copy the whole training set for each client

    def choose(self, table: LabelTable) -> np.ndarray:
        return self.chosen

"""Which clients take part in a round."""

from collections.abc import Sequence

import numpy as np

__all__ = ['group_clients', 'select_clients', 'select_from_group']

Generator = np.random.Generator | np.random.RandomState


def group_clients(client_counts: np.ndarray, total: np.ndarray, num_groups: int) -> list[np.ndarray]:
    r"""Sort clients from those rich in globally frequent classes to those rich in rare ones, and cut them into groups.

    The score of client k is :math:`\sum_c n_c n_{kc} / N_k`; group i are the clients from :math:`\lfloor i K / E
    \rfloor` on in descending order. Clients without an estimate come last.

    [1] github.com/Spinozaaa/Federated-Long-tailed-Learning @9944e7a, ``specifical_exp``. Equal to [1]
        (tests/conformance, ``fed_gbme``).

    Args:
        client_counts: Images per client and class, (K, C).
        total: Images per class, (C,).
        num_groups: E.

    Returns:
        Client indices of each group.
    """
    client_counts, total = np.asarray(client_counts, dtype=np.float64), np.asarray(total, dtype=np.float64)
    scores = client_counts @ total / client_counts.sum(1).clip(min=1)
    order = np.argsort(-scores, kind='stable')
    bounds = [i * len(order) // num_groups for i in range(1, num_groups)]
    return np.split(order, bounds)


def select_clients(num_clients: int, num_selected: int, generator: Generator) -> np.ndarray:
    """Draw clients of equal probability, without repetition."""
    return generator.choice(num_clients, min(num_selected, num_clients), replace=False)


def select_from_group(
    group: Sequence[int],
    num_clients: int,
    num_selected: int,
    share: float,
    generator: Generator,
    published: bool = False,
) -> np.ndarray:
    """Draw a ``share`` of the clients of a round from a group, and the others from the rest.

    Where the group has fewer, all of it takes part. ``published`` draws as the published code: the others come from all
    clients, so that some may take part twice, and where ``share`` does not divide the number there is one fewer.

    Args:
        group: Clients of the group.
        num_clients: K.
        num_selected: Clients per round.
        share: Share of the group, in [0, 1].
        generator: Generator.
        published: See above.
    """
    num_selected = min(num_selected, num_clients)
    num_of_group = min(int(num_selected * share), len(group))
    of_group = generator.choice(np.asarray(group), num_of_group, replace=False)
    if published:
        return np.concatenate([of_group, generator.choice(num_clients, int(num_selected * (1 - share)), replace=False)])
    rest = np.setdiff1d(np.arange(num_clients), of_group)
    return np.concatenate([of_group, generator.choice(rest, num_selected - num_of_group, replace=False)])

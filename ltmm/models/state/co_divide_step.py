"""The step of two networks that take turns: which of them is trained, and how."""

from dataclasses import dataclass

__all__ = ['CoDivideStep']


@dataclass(frozen=True)
class CoDivideStep:
    """One iteration of a training of two networks that take turns.

    Args:
        network: Index of the network that is trained, 0 or 1.
        num_labeled: Images at the start of the batch whose labels are used; the others are unlabeled. None in the
            warm-up, which uses all.
        progress: Share of the iterations of this network in this epoch that have passed.
    """

    network: int
    num_labeled: int | None = None
    progress: float = 0.0

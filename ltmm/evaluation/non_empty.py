"""An error for an empty test set, which MMEngine only warns of."""

from ltmm.utils.errors import InputError

__all__ = ['NonEmptyTestSet']


class NonEmptyTestSet:
    """Mixin for metrics, listed before their base class, that refuses an empty test set."""

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the figures over all ranks.

        Args:
            size: Number of samples in the test set.

        Raises:
            InputError: The test set is empty.
        """
        if not size:
            raise InputError(f'{type(self).__name__}: the test set is empty.')
        return super().evaluate(size)

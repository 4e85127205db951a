"""A trained classifier with a split of its data."""

from dataclasses import dataclass

import numpy as np
from mmengine.config import Config
from torch.utils.data import DataLoader, Subset

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels.label_table import LabelTable, class_distribution_of
from ltmm.engine.runner.model_outputs import build_test_loader
from ltmm.engine.stages.feature_extraction import splits_of
from ltmm.utils.errors import InputError

from .trained_model import TrainedModel, load_trained_model

__all__ = ['Split', 'load_split']


@dataclass(frozen=True, eq=False)
class Split:
    """A trained classifier and a split of its data.

    Args:
        trained: The classifier.
        loader: Loads the split as the test set is loaded.
        label: Class indices, (N,).
        distribution: Class distribution of the training data, with class names.
    """

    trained: TrainedModel
    loader: DataLoader
    label: np.ndarray
    distribution: ClassDistribution

    def loader_of(self, rows: np.ndarray) -> DataLoader:
        """Load these images only, in this order."""
        dataset, loader = Subset(self.loader.dataset, rows.tolist()), self.loader
        return DataLoader(dataset, loader.batch_size, num_workers=loader.num_workers, collate_fn=loader.collate_fn)


def load_split(cfg: Config, checkpoint: str, split: str, device: str | None = None) -> Split:
    """Load a checkpoint and a split of the data of its config.

    Args:
        cfg: Config of a classifier with one label per image.
        checkpoint: Path or URL.
        split: ``'train'``, ``'val'`` or ``'test'``.
        device: See :func:`ltmm.apis.trained_model.load_trained_model`.
    """
    dataset = splits_of(cfg, [split])[split]
    trained = load_trained_model(cfg, checkpoint, device)
    if trained.task != 'single_label':
        raise InputError(f'Expected a classifier with one label per image, but got one for {trained.task}.')
    distribution = trained.distribution or class_distribution_of(cfg.train_dataloader.dataset)
    loader = build_test_loader(cfg, dataset, distribution=distribution)
    table = LabelTable.from_dataset(loader.dataset)
    if not table.is_single_label:
        raise InputError(f'Expected one label per sample in {split}, but got {len(table.labels)} on {len(table)}.')
    if table.class_names is not None and distribution.class_names is None:
        distribution = distribution.in_label_order(table.class_names)
    return Split(trained, loader, table.labels, distribution)

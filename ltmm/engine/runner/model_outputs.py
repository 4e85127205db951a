"""Features and logits of a whole dataset, in one pass with the test pipeline."""

import copy
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.images import base_datasets, check_loaded_images
from ltmm.models.post_process.base import classification_head
from ltmm.utils.class_names import class_names_of_dataset
from ltmm.utils.errors import InputError
from ltmm.utils.launch import build_runner

__all__ = [
    'ModelOutputs',
    'build_test_runner',
    'build_test_loader',
    'features_and_labels',
    'model_outputs',
    'underlying_datasets',
]

TRAINING_KEYS = (
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'val_dataloader',
    'val_cfg',
    'val_evaluator',
)


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """Outputs of a classifier for N samples.

    Args:
        features: Input of the classifier layer, (N, D).
        logits: (N, C); None if they were not asked for.
        label: Class indices, (N,).
    """

    features: Tensor
    logits: Tensor | None
    label: Tensor

    @classmethod
    def join(cls, parts: Iterable['ModelOutputs']) -> 'ModelOutputs':
        """Concatenate batches."""
        features, logits, label = zip(*((part.features, part.logits, part.label) for part in parts))
        return cls(torch.cat(features), None if logits[0] is None else torch.cat(logits), torch.cat(label))

    @classmethod
    def interleave(cls, parts: Sequence['ModelOutputs']) -> 'ModelOutputs':
        """Join the outputs of R ranks, of which rank r had the samples r, r + R, ..., in the order of the samples."""
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(np.concatenate([r + len(parts) * np.arange(len(p.label)) for r, p in enumerate(parts)]))
        joined = cls.join(parts)
        logits = None if joined.logits is None else joined.logits[order]
        return cls(joined.features[order], logits, joined.label[order])


def build_test_runner(cfg: Config) -> Runner:
    """Build a runner that loads checkpoints but does not train; the config it dumps gets a name of its own."""
    cfg = Config(copy.deepcopy(cfg._cfg_dict))
    cfg.experiment_name = f'post_process_{time.time_ns()}'
    for key in TRAINING_KEYS:
        cfg.pop(key, None)
    cfg.load_from, cfg.resume = None, False
    runner = build_runner(cfg)
    runner.call_hook('before_run')
    return runner


def underlying_datasets(dataset: dict) -> list[dict]:
    """Configs of the datasets inside all wrappers."""
    inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', [])
    return [leaf for part in inner for leaf in underlying_datasets(part)] or [dataset]


def build_test_loader(
    cfg: Config,
    dataset: dict,
    round_up: bool = False,
    distribution: ClassDistribution | None = None,
    augmented: bool = False,
) -> DataLoader:
    """Load any dataset as the test set is loaded: with its pipeline and batch size, every sample once and in order.

    Rank r of R gets the samples r, r + R, ...

    Args:
        cfg: Config with a ``test_dataloader``.
        dataset: Config of the dataset, such as that of the training data.
        round_up: Repeat the first samples at the end so that all ranks have the same number.
        distribution: Class distribution of the training data, to check the classes of the dataset.
        augmented: Keep the pipeline of the dataset.
    """
    loader, dataset = copy.deepcopy(cfg.test_dataloader), copy.deepcopy(dataset)
    pipeline = underlying_datasets(loader.dataset)[0].get('pipeline')
    for leaf in [] if augmented else underlying_datasets(dataset):
        if not leaf.get('filter_cfg'):  # mmdet filters in training only: the images would be others
            leaf['test_mode'] = True
        if pipeline is not None:
            leaf['pipeline'] = copy.deepcopy(pipeline)
    for key in ('batch_sampler', 'num_batch_per_epoch', 'drop_last'):
        loader.pop(key, None)
    loader['dataset'] = dataset
    loader['sampler'] = dict(type='DefaultSampler', shuffle=False, round_up=round_up)
    loader = Runner.build_dataloader(loader)
    if distribution is not None:
        distribution.check_classes(class_names_of_dataset(loader.dataset), 'the dataset')
    for leaf in base_datasets(loader.dataset):
        check_loaded_images(leaf)
    return loader


def features_and_labels(
    head: nn.Module, stages: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]
) -> tuple[Tensor, Tensor]:
    """Return the input of the classifier layer, (N, D), float32, and the class indices, (N,).

    Args:
        head: Head of a classifier with one label per image.
        stages: Output of ``extract_feat``.
        data_samples: Samples with ``gt_label``.
    """
    features = head.pre_logits(stages)
    if not isinstance(features, Tensor) or features.dim() != 2:
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise InputError(
            f'Expected features of shape (N, D), but got {got}. A neck such as GlobalAveragePooling is missing.'
        )
    if features.size(1) == 1:
        raise InputError(
            f'Expected features of shape (N, D), but got {tuple(features.shape)}, one number per image. A backbone '
            'that pools already, such as a ViT, needs no pooling neck.'
        )
    label = torch.cat([sample.gt_label for sample in data_samples])
    if len(label) != len(features):
        raise InputError(f'Expected one label per sample, but got {len(label)} for {len(features)} samples.')
    return features.float(), label


@torch.no_grad()
def model_outputs(
    model: nn.Module, loader: DataLoader, with_logits: bool = True, tries_head: bool = False
) -> Iterator[ModelOutputs]:
    """Compute the outputs of a classifier batch by batch, float32 on the CPU, with a progress bar.

    Args:
        model: Classifier; it is put into evaluation mode.
        loader: See :func:`build_test_loader`.
        with_logits: Compute the logits too.
        tries_head: Compute those of the first batch at least: a head of another width refuses the features.
    """
    head = classification_head(model, 'model_outputs()')
    model.eval()
    bar = ProgressBar(len(loader)) if get_rank() == 0 else None
    for number, batch in enumerate(loader):
        data = model.data_preprocessor(batch, False)
        stages = model.extract_feat(data['inputs'])
        features, label = features_and_labels(head, stages, data['data_samples'])
        logits = head(stages).float().cpu() if with_logits or (tries_head and not number) else None
        yield ModelOutputs(features.cpu(), logits, label.cpu())
        if bar is not None:
            bar.update()
    if bar is not None:
        print(flush=True)

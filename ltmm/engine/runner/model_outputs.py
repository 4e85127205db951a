"""Features and logits of a whole dataset, in one pass and without augmentation."""

import copy
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ltmm.utils.launch import build_runner

__all__ = ['ModelOutputs', 'innermost', 'loader_as_tested', 'model_outputs', 'idle_runner']

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
    """What a classifier makes of N samples.

    Args:
        features: what its classifier layer sees, (N, D).
        cls_score: logits, (N, C); None where they were not asked for.
        label: (N,).
    """

    features: Tensor
    cls_score: Tensor | None
    label: Tensor

    @classmethod
    def join(cls, parts: Iterable['ModelOutputs']) -> 'ModelOutputs':
        """All batches in one."""
        features, cls_score, label = zip(*((part.features, part.cls_score, part.label) for part in parts))
        return cls(torch.cat(features), None if cls_score[0] is None else torch.cat(cls_score), torch.cat(label))

    @classmethod
    def interleave(cls, parts: Sequence['ModelOutputs']) -> 'ModelOutputs':
        """The outputs of R processes, of which process r had the samples r, r + R, ..., in the order of the samples."""
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(np.concatenate([r + len(parts) * np.arange(len(p.label)) for r, p in enumerate(parts)]))
        joined = cls.join(parts)
        cls_score = None if joined.cls_score is None else joined.cls_score[order]
        return cls(joined.features[order], cls_score, joined.label[order])


def idle_runner(cfg: Config) -> Runner:
    """A runner that can load checkpoints and trains nothing; what it dumps does not take the name of the config."""
    cfg = Config(copy.deepcopy(cfg._cfg_dict))
    cfg.experiment_name = f'post_process_{time.time_ns()}'
    for key in TRAINING_KEYS:
        cfg.pop(key, None)
    cfg.load_from, cfg.resume = None, False
    runner = build_runner(cfg)
    runner.call_hook('before_run')
    return runner


def innermost(dataset: dict) -> list[dict]:
    """The configs of the datasets inside all wrappers."""
    inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', [])
    return [leaf for part in inner for leaf in innermost(part)] or [dataset]


def loader_as_tested(cfg: Config, dataset: dict, round_up: bool = False) -> DataLoader:
    """Loader of any dataset as the test set is loaded: its pipeline, its batch size, every sample once and in order.

    Of several processes each gets a part: process r of R the samples r, r + R, ...

    Args:
        cfg: config with a ``test_dataloader``.
        dataset: config of the dataset, such as that of the training data.
        round_up: whether the first samples come again in the end, so that every process has as many.
    """
    loader, dataset = copy.deepcopy(cfg.test_dataloader), copy.deepcopy(dataset)
    pipeline = innermost(loader.dataset)[0].get('pipeline')
    for leaf in innermost(dataset):
        leaf['test_mode'] = True
        if pipeline is not None:
            leaf['pipeline'] = copy.deepcopy(pipeline)
    for key in ('batch_sampler', 'num_batch_per_epoch', 'drop_last'):
        loader.pop(key, None)
    loader['dataset'] = dataset
    loader['sampler'] = dict(type='DefaultSampler', shuffle=False, round_up=round_up)
    return Runner.build_dataloader(loader)


@torch.no_grad()
def model_outputs(model: nn.Module, loader: DataLoader, with_scores: bool = True) -> Iterator[ModelOutputs]:
    """Outputs of a classifier of mmpretrain, batch after batch, float32 on the CPU, with a progress bar.

    Args:
        model: the classifier; it is put into evaluation mode.
        loader: see :func:`loader_as_tested`.
        with_scores: logits too.

    Raises:
        TypeError: a model without mmpretrain's head.
        ValueError: features that are no vectors, or samples without exactly one label.
    """
    head = getattr(model, 'head', None)
    if not hasattr(head, 'pre_logits'):
        raise TypeError(f"Expected a classifier with a head of mmpretrain's kind, but got {type(model).__name__}.")
    model.eval()
    bar = ProgressBar(len(loader)) if get_rank() == 0 else None
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        stages = model.extract_feat(data['inputs'])
        features = head.pre_logits(stages)
        if not isinstance(features, Tensor) or features.dim() != 2:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(
                f'Expected features of shape (N, D), but got {shape}. A neck such as GlobalAveragePooling is missing.'
            )
        label = torch.cat([sample.gt_label for sample in data['data_samples']])
        if len(label) != len(features):
            raise ValueError(f'Expected one label a sample, but got {len(label)} for {len(features)} samples.')
        cls_score = head(stages).float().cpu() if with_scores else None
        yield ModelOutputs(features.float().cpu(), cls_score, label.cpu())
        if bar is not None:
            bar.update()
    if bar is not None:
        print(flush=True)

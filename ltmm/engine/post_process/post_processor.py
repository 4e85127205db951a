"""Correct a trained model: fit the correction, evaluate it on the test set, write the result."""

import copy
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch import nn

from ltmm.class_distribution import ClassDistribution
from ltmm.engine.hooks.checkpoint_compatibility_hook import refuse_missing_parameters
from ltmm.engine.runner.model_outputs import build_test_runner
from ltmm.models.post_process import PostProcess
from ltmm.models.post_process.base import attach_correction
from ltmm.models.state.class_distribution import (
    ClassDistributionBuffer,
    UsesClassDistribution,
    move_to_meta,
    warn_without_num_images,
)
from ltmm.registry import MODELS, POST_PROCESSORS
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.checkpoints import check_checkpoint
from ltmm.utils.class_counts import is_by_name, missing_names_error, read_counts
from ltmm.utils.class_names import class_names_of
from ltmm.utils.errors import InputError, MissingInputError
from ltmm.utils.wrappers import unwrap_model

from .balanced_models import warn_if_balanced

__all__ = ['PostProcessor', 'build_post_processor', 'post_process']


class PostProcessor:
    """A trained model and a correction of it. Base class; see :func:`build_post_processor`.

    A subclass defines ``train_split()`` and ``val_split(split, num_images)``, the data for
    :meth:`ltmm.models.PostProcess.fit`; ``evaluate()``, the figures of the test set for each model to compare, such as
    before and after the correction; and ``summary(*figures)``, their table.

    Args:
        cfg: Config of the trained model.
        checkpoint: Its checkpoint.
        step: Correction.
        class_counts: Training images per class, see :meth:`ltmm.ClassDistribution.build`. Default: taken from the
            checkpoint.
    """

    def __init__(self, cfg: Config, checkpoint: str, step: PostProcess, class_counts: Any = None) -> None:
        hooks = cfg.get('custom_hooks') or []
        for name, found in (
            ('PostProcessHook', any(hook['type'] == 'ltmm.PostProcessHook' for hook in hooks)),
            ('CorrectedHead', (cfg.model.get('head') or {}).get('type') == 'ltmm.CorrectedHead'),
        ):
            if found:
                raise InputError(f'Expected a config without {name}, which would correct the model already.')
        init_default_scope(cfg.get('default_scope', 'mmpretrain'))
        check_checkpoint(checkpoint)
        self.cfg, self.checkpoint, self.step, self._class_counts = cfg, checkpoint, step, class_counts
        self.runner = build_test_runner(cfg)
        self.model = unwrap_model(self.runner.model)
        heads = step.heads(self.model)
        for head in heads.values():
            step.check(head)
        warn_if_balanced(step, self.model, cfg)
        self._meta = self.runner.load_checkpoint(checkpoint).get('meta', {})
        refuse_missing_parameters(self.runner, step.replaces)
        self.distribution = self._find_distribution()
        if isinstance(step, UsesClassDistribution):
            step.set_class_distribution(self.distribution)
        self.heads = {name: copy.deepcopy(head).cpu() for name, head in heads.items()}
        self._state = self.model.state_dict()

    def run(self, folder: Path, name: str, search: Mapping[str, Any] | None = None) -> list[Path]:
        """Fit the correction, log many, medium and few of the test set before and after, write and return the files.

        Args:
            folder: Where to write.
            name: Name of the files, without suffix.
            search: Options of :meth:`fit`. None keeps the strength of the correction.
        """
        if search is not None or self.step.needs_fit:
            self.fit(**(search or {}))
        summary = self.summary(*self.evaluate())
        files = self.write(folder, name)
        self._log(f'Test set, in percent:\n{summary}\nWrote {", ".join(map(str, files))}')
        return files

    def fit(
        self,
        grid: Sequence[float] | None = None,
        val_split: str | None = None,
        val_images: int | None = None,
        objective: str | None = None,
    ) -> None:
        """Fit the correction, never on the test set.

        Args:
            grid: First strength of a search, last strength, number of strengths. Default: the correction's.
            val_split: See :func:`~ltmm.engine.post_process.validation_data.validation_dataset`.
            val_images: Number of validation images: in total for detectors, per class for classifiers on
                :class:`ltmm.datasets.LongTailed`, and refused for others.
            objective: Figure that a search looks at. Default: the correction's.
        """
        self.step.grid, self.step.objective = grid or self.step.grid, objective or self.step.objective
        self._fit(self.train_split(), self.val_split(val_split, val_images))

    def _fit(self, train: Any, val: Any) -> None:
        self.step.fit(train, val)

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the corrected model and return the files.

        A correction that the heads can hold gives a checkpoint for the same config, or a checkpoint and a config if it
        needs another head. Any other gives a config that corrects the logits of the old checkpoint.

        Args:
            folder: Where to write.
            name: Name of the files, without suffix.
        """
        checkpoint, config = folder / f'{name}.pth', folder / f'{name}.py'
        cfgs, heads = self._corrected_heads()
        if heads:
            files = {checkpoint: self._checkpoint(heads)}
            if cfgs:
                cfg = self._copy_of_config(checkpoint)
                cfg.merge_from_dict({f'model.{key}': dict(_delete_=True, **head) for key, head in cfgs.items()})
                files[config] = cfg.pretty_text.encode()
        else:
            cfg = self._copy_of_config(Path(self.checkpoint).absolute())
            hook = dict(type='ltmm.PostProcessHook', steps=[self._step_config()])
            cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
            files = {config: cfg.pretty_text.encode()}
        if is_main_process():
            for path, content in files.items():
                AtomicLocalBackend().put(content, path)
        return list(files)

    def _corrected_heads(self) -> tuple[dict[str, dict], dict[str, nn.Module]]:
        """Configs of other heads, if needed, and the heads that hold the correction; none if they cannot."""
        if self.step.keeps_state:
            cfgs = {
                key: dict(type='ltmm.CorrectedHead', head=self.cfg.model[key], correction=self._step_config())
                for key in self.heads
            }
            return cfgs, {key: attach_correction(copy.deepcopy(head), self.step) for key, head in self.heads.items()}
        cfgs = {key: cfg for key, head in self.heads.items() if (cfg := self.step.head_config(head)) is not None}
        heads = {
            key: MODELS.build(cfgs[key]) if key in cfgs else copy.deepcopy(head) for key, head in self.heads.items()
        }
        if not all(self.step.write(head) for head in heads.values()):
            return {}, {}
        for key in cfgs:
            _set_class_distribution(heads[key], self.distribution)
        return cfgs, heads

    def _step_config(self) -> dict[str, Any]:
        step = dict(type=f'ltmm.{type(self.step).__name__}', **self.step.settings())
        if self._class_counts is not None and isinstance(self.step, UsesClassDistribution):
            counts = self.distribution.instance_counts
            says_all = ClassDistribution(counts) == self.distribution  # one class per image
            step['class_counts'] = counts.tolist() if says_all else self.distribution.to_dict()
        return step

    def _find_distribution(self) -> ClassDistribution:
        names = class_names_of(self._meta)
        if self._class_counts is not None:
            counts = read_counts(self._class_counts)
            if is_by_name(counts) and not names:
                raise missing_names_error(self.checkpoint)
            if isinstance(self.step, UsesClassDistribution):
                warn_without_num_images(self.step, counts)
            distribution = ClassDistribution.build(counts, names)
            _set_class_distribution(self.model, distribution)
            return distribution
        distribution = ClassDistribution.from_state_dict(self.model.state_dict(), names)
        if distribution is None:
            raise MissingInputError(
                f'{self.checkpoint} carries no class distribution. Pass the counts of its training data as '
                'class_counts (--class-counts counts.json; python tools/analysis_tools/class_distribution.py CONFIG '
                '--json counts.json writes them).'
            )
        return distribution

    def _copy_of_config(self, load_from: Path) -> Config:
        cfg = copy.deepcopy(self.cfg)
        cfg.pop('stages', None)
        cfg.load_from, cfg.resume = str(load_from), False
        return cfg

    def _checkpoint(self, heads: Mapping[str, nn.Module]) -> bytes:
        """Return the checkpoint file of the model with other heads."""
        new = {f'{key}.{name}': value for key, head in heads.items() for name, value in head.state_dict().items()}
        old_parts = tuple(f'{key}.' for key in heads)
        if any(name.startswith(tuple(f'{key}.class_distribution.' for key in heads)) for name in new):
            old_parts += ('class_distribution.',)  # the head holds it now
        state = {name: value.cpu() for name, value in self._state.items() if not name.startswith(old_parts)}
        step = dict(type=type(self.step).__name__, **self.step.settings())
        meta = dict(dataset_meta=self._meta.get('dataset_meta'), post_process=step, source=str(self.checkpoint))
        content = dict(meta=meta, state_dict=state | new)
        move_to_meta(content)
        file = io.BytesIO()
        torch.save(content, file)
        return file.getvalue()

    def _log(self, text: str) -> None:
        print_log(text, 'current')


def build_post_processor(
    cfg: Config, checkpoint: str, step: Mapping[str, Any], class_counts: Any = None
) -> PostProcessor:
    """Build the post-processor of a correction.

    Args:
        cfg: See :class:`PostProcessor`.
        checkpoint: See :class:`PostProcessor`.
        step: Config of the correction, such as ``dict(type='ltmm.TauNorm')``.
        class_counts: See :class:`PostProcessor`.
    """
    correction: PostProcess = MODELS.build(dict(step))
    return POST_PROCESSORS.get(correction.processor)(cfg, checkpoint, correction, class_counts)


def post_process(
    cfg: Config,
    checkpoint: str,
    step: Mapping[str, Any],
    folder: Path,
    name: str,
    search: Mapping[str, Any] | None = None,
    class_counts: Any = None,
) -> list[Path]:
    """Correct a trained model, see :meth:`PostProcessor.run`.

    Args:
        cfg: See :class:`PostProcessor`.
        checkpoint: See :class:`PostProcessor`.
        step: See :func:`build_post_processor`.
        folder: See :meth:`PostProcessor.run`.
        name: Same.
        search: Same.
        class_counts: See :class:`PostProcessor`.
    """
    return build_post_processor(cfg, checkpoint, step, class_counts).run(folder, name, search)


def _set_class_distribution(model: nn.Module, distribution: ClassDistribution) -> None:
    for module in model.modules():
        if isinstance(module, ClassDistributionBuffer):
            module.set(distribution)

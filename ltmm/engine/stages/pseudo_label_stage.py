"""Stage that labels unlabeled images by the model of the stage before."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import collect_results, is_main_process
from torch import nn
from torch.utils.data import DataLoader

from ltmm.datasets.labels.label_table import LabelTable, class_distribution_of
from ltmm.engine.hooks.checkpoint_compatibility_hook import refuse_missing_parameters
from ltmm.engine.runner.model_outputs import build_test_loader, build_test_runner
from ltmm.registry import DATASETS, STAGES
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.class_names import class_names_of_dataset
from ltmm.utils.errors import InputError, InputTypeError, MissingInputError
from ltmm.utils.shots import thirds
from ltmm.utils.wrappers import unwrap_model

from .base import Stage

__all__ = ['PseudoLabelStage', 'accuracy_of_thirds', 'predict_labels']


@STAGES.register_module()
@dataclass(kw_only=True)
class PseudoLabelStage(Stage):
    """Give every unlabeled image the class that the last checkpoint predicts, with the test pipeline.

    The result is a JSON file of ``classes`` and ``labels``, which :class:`ltmm.datasets.PseudoLabeled` of the next
    stage reads as ``pseudo_labels='stage://pseudo_label'``. That stage starts from scratch. Where the data know the
    true labels, the log says how many of them are right, in each third of the classes too.

    Args:
        unlabeled: Config of the unlabeled images. Default: those of the training data of the next stage.
    """

    unlabeled: dict | None = None

    @property
    def result(self) -> Path:
        return self.folder / 'pseudo_labels.json'

    def next_checkpoint(self, previous: Path | None) -> Path | None:
        return None

    def prepare_next(self, cfg: Config) -> None:
        """Take the unlabeled images of the next stage."""
        dataset = cfg.train_dataloader.dataset
        if 'pseudo_labels' not in dataset:
            raise InputError(
                f"{self.folder.name}: expected train_dataloader.dataset=dict(type='ltmm.PseudoLabeled', "
                f"pseudo_labels='stage://{self.name}', ...) in the next stage, but got {dataset.get('type')}."
            )
        if self.unlabeled is None:
            self.unlabeled = dataset.unlabeled.to_dict()

    def run(self, previous: Path | None) -> None:
        if previous is None or self.unlabeled is None:
            raise MissingInputError(
                f'{self.folder.name}: PseudoLabelStage needs a TrainStage before it, and one with unlabeled images '
                'after it.'
            )
        runner = build_test_runner(self.cfg)
        runner.load_checkpoint(str(previous))
        refuse_missing_parameters(runner)
        loader = build_test_loader(self.cfg, self.unlabeled, round_up=True)
        labels = predict_labels(unwrap_model(runner.model), loader)
        if is_main_process():
            classes = class_names_of_dataset(loader.dataset)
            content = dict(checkpoint=str(previous), classes=classes and list(classes), labels=labels.tolist())
            self.log(f'labeled {len(labels)} images' + self._report(loader.dataset, labels))
            self.folder.mkdir(parents=True, exist_ok=True)
            AtomicLocalBackend().put_text(json.dumps(content), self.result)

    def _report(self, dataset: object, labels: np.ndarray) -> str:
        """Say how many pseudo-labels are right."""
        try:
            table = LabelTable.from_dataset(dataset)
        except InputTypeError:
            return ''
        if not table.is_single_label:
            return ''
        counts = class_distribution_of(DATASETS.build(self.cfg.train_dataloader.dataset)).image_counts
        accuracy = accuracy_of_thirds(labels, table.labels, counts)
        return ': ' + ', '.join(f'{name} {100 * value:.1f} %' for name, value in accuracy.items()) + ' are right'


@torch.no_grad()
def predict_labels(model: nn.Module, loader: DataLoader) -> np.ndarray:
    """Predict the class of each image of a dataset, (N,), on all ranks together; the result is on the main one.

    Args:
        model: Classifier; it is put into evaluation mode.
        loader: See :func:`ltmm.engine.runner.model_outputs.build_test_loader`, with ``round_up``.
    """
    model.eval()
    labels = []
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        labels += model.head(model.extract_feat(data['inputs'])).argmax(1).tolist()
    return np.array(collect_results(labels, len(loader.dataset), 'cpu'))


def accuracy_of_thirds(labels: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Return the share of right labels, of all and of the images of each third of the classes by ``counts``.

    Args:
        labels: Predicted classes, (N,).
        truth: True classes, (N,).
        counts: Labeled images per class, (C,).
    """
    groups = [('all', np.ones(len(counts), dtype=bool)), *thirds(counts).items()]
    members = {name: mask[truth] for name, mask in groups}
    return {name: float((labels == truth)[member].mean()) for name, member in members.items() if member.any()}

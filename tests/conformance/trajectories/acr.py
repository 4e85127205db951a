"""ACR: both streams, both classifiers, the estimate of the unlabeled prior, and the average of the weights."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from toy import ROOT, read_config

from ltmm.models.losses.semi.acr_loss import ACRLoss, adjustment
from ltmm.registry import DATA_SAMPLERS, DATASETS

from ..frame import Case, adaptor
from .frame import prepare
from .weights import EVALUATION, compare_state, draw_images, draw_state, rule_of_name

NAMES = {'fc1.': 'head.fc.', 'fc.': 'head.fc.uniform.', 'block': 'backbone.layer', 'bn1.': 'backbone.bn1.'}


@adaptor('trajectory_acr', slow=True)
def acr(case: Case) -> dict[str, Any]:
    params, steps = case.params, case.params['total_steps']
    case.check('labels', case.arrays['label'].shape, (steps, params['batch']))
    case.check('unlabeled', case.arrays['unlabelled_real'].shape, (steps, params['mu'] * params['batch']))
    weights = {
        _our_name(name): value
        for name, value in draw_state(
            [(i, name, shape, rule_of_name(name, shape)) for i, name, shape in params['state']], params['seed_w']
        ).items()
    }
    recorder = ACRRecorder()
    with TemporaryDirectory() as folder, mock.patch.object(Tensor, 'float', Tensor.double):
        runner = Runner.from_cfg(_config(case, folder))
        runner.model.double()
        state = {name for name in runner.model.state_dict() if 'loss_module' not in name and 'class_d' not in name}
        assert state == weights.keys(), sorted(state ^ weights.keys())
        runner.model.load_state_dict(weights, strict=False)
        torch.save(dict(state_dict=weights), f'{folder}/given.pth')
        runner.register_hook(recorder)
        runner.train()
        (ema,) = (hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))
    names = [_our_name(name) for _, name, _ in params['state']]
    for prefix, model in dict(final=runner.model, ema=ema.module).items():
        compare_state(case, prefix, (model.state_dict()[name] for name in names))
    results = {name: torch.stack(values) for name, values in recorder.values.items()}
    images = _evaluation(case)
    with torch.no_grad():
        return results | dict(
            lr=recorder.rates,
            eval_logits_balanced=runner.model.eval()(images),
            eval_logits_balanced_ema=ema.module.eval()(images),
            eval_logits_standard_ema=ema.module.head.fc.uniform(ema.module.extract_feat(images)[-1]),
        )


def _our_name(name: str) -> str:
    name = name.replace('convShortcut', 'shortcut')
    prefix = next((prefix for prefix in NAMES if name.startswith(prefix)), None)
    name = f'backbone.{name}' if prefix is None else NAMES[prefix] + name.removeprefix(prefix)
    return name.replace('.layer.', '.')


def _config(case: Case, folder: str) -> Any:
    params, cfg = case.params, read_config(ROOT / 'configs/cifar100_lt_semi/acr_wrn28-2.py')
    counts, mu = params['counts'], params['mu']
    prepare(cfg, folder, counts)
    (average,) = (hook for hook in cfg.custom_hooks if hook.type == 'EMAHook')
    average.momentum = 1 - params['ema_decay']
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'ltmm.PseudoLabelHook']  # no true labels
    cfg.train_dataloader.dataset = dict(
        type='ltmm.GivenStreams',
        labels=case.arrays['label'].tolist(),
        also_labeled=(case.arrays['unlabelled_real'] == -2).tolist(),
        seed=params['seed_x'],
        colour=params['colour'],
        mu=mu,
    )
    cfg.train_dataloader.sampler = dict(type='ltmm.GivenStreamSteps', length=params['eval_step'])
    epochs, rest = divmod(params['total_steps'], params['eval_step'])
    assert not rest
    cfg.merge_from_dict(
        {
            'data_preprocessor.num_classes': len(counts),
            'train_dataloader.batch_size': (1 + mu) * params['batch'],
            'train_dataloader.num_workers': 0,
            'train_cfg.max_epochs': epochs,
            'optim_wrapper.optimizer.lr': params['lr'],
            'optim_wrapper.optimizer.weight_decay': params['wdecay'],
            'model.backbone.depth': params['depth'],
            'model.backbone.width': params['width'],
            'model.head.in_channels': 64 * params['width'],
            'model.head.num_classes': len(counts),
            'model.head.loss.threshold': params['threshold'],
            'model.head.loss.temperature': params['T'],
            'model.head.loss.tau': params['tau1'],
            'model.head.loss.tau_pseudo': params['tau12'],
            'model.head.loss.tau_balanced': params['tau2'],
            'model.head.loss.momentum': params['ema_u'],
            'model.head.loss.interval': params['eval_step'],
            'model.head.loss.warmup': params['est_epoch'],
            'load_from': f'{folder}/given.pth',
        }
    )
    return cfg


def _tint(seed: int, step: int, stream: int, batch: int) -> Tensor:
    """A colour of each image, (N, 3, 1, 1), the same for all views of an image."""
    generator = np.random.RandomState(seed + step + 10000 * stream + 5000)
    return torch.from_numpy(generator.standard_normal((batch, 3, 1, 1)))


def _evaluation(case: Case) -> Tensor:
    seed, batch = case.params['seed_x'], case.params['batch']
    return draw_images(seed, EVALUATION, batch) + case.params['colour'] * _tint(seed, EVALUATION, 0, batch)


@DATASETS.register_module()
class GivenStreams(Dataset):
    """The labeled images of all steps, then the unlabeled ones in three views."""

    def __init__(
        self,
        labels: Sequence[Sequence[int]],
        also_labeled: Sequence[Sequence[bool]],
        seed: int,
        colour: float,
        mu: int,
    ) -> None:
        self.labels, self.also_labeled, self.seed, self.colour, self.mu = labels, also_labeled, seed, colour, mu
        self.metainfo: dict = {}
        self.steps, self.batch = len(labels), len(labels[0])

    def __len__(self) -> int:
        return (1 + self.mu) * self.steps * self.batch

    def __getitem__(self, index: int) -> dict:
        stream = int(index >= self.steps * self.batch)
        batch = self.batch * (self.mu if stream else 1)
        step, i = divmod(index - stream * self.steps * self.batch, batch)
        tint = self.colour * _tint(self.seed, step, stream, batch)[i]
        views = [draw_images(self.seed, step, batch, view=v)[i] + tint for v in ((1, 2, 3) if stream else (0,))]
        sample = DataSample(metainfo=dict(sample_idx=index))
        if stream:
            sample.set_metainfo(dict(also_labeled=self.also_labeled[step][i]))
        else:
            sample.set_gt_label(self.labels[step][i])
        return dict(inputs=views, data_samples=sample)


@DATA_SAMPLERS.register_module()
class GivenStreamSteps(Sampler):
    """Samples both streams of the steps of an epoch."""

    def __init__(self, dataset: GivenStreams, length: int, seed: int | None = None) -> None:
        self.dataset, self.length, self.epoch = dataset, length, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length * (1 + self.dataset.mu) * self.dataset.batch

    def __iter__(self) -> Iterator[int]:
        batch, mu, offset = self.dataset.batch, self.dataset.mu, self.dataset.steps * self.dataset.batch
        for step in range(self.epoch * self.length, (self.epoch + 1) * self.length):
            yield from range(step * batch, (step + 1) * batch)
            yield from range(offset + step * mu * batch, offset + (step + 1) * mu * batch)


class ACRRecorder(Hook):
    """Records rates, losses, pseudo-labels and the state of the loss of each step."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.values: dict[str, list[Tensor]] = defaultdict(list)

    def before_train_epoch(self, runner: Runner) -> None:
        self.loss: ACRLoss = runner.model.head.loss_module
        if runner.epoch == 0:
            self.find = mock.patch.object(self.loss, 'pseudo', side_effect=self.loss.pseudo)
            self.pseudo = self.find.start()
            self._record = self.pseudo.side_effect
            self.pseudo.side_effect = self._pseudo

    def _pseudo(self, *args: Tensor) -> list:
        branches = self._record(*args)
        for (label, _, mask), suffix in zip(branches, ('', '_balanced')):
            self.values[f'pseudo{suffix}'].append(label)
            self.values[f'mask{suffix}'].append(mask.long())
        self.values['adjustment'].append(adjustment(self.loss.anchors[0], self.loss.adaptive.tau))
        return branches

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        (rate,) = set(runner.optim_wrapper.get_lr()['lr'])
        self.rates.append(rate)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        for name, ours in dict(x='labeled', x_balanced='labeled_balanced').items():
            self.values[f'loss_{name}'].append(outputs[f'loss_{ours}'])
        for name, ours in dict(u='unlabeled', u_balanced='unlabeled_balanced').items():
            self.values[f'loss_{name}'].append(outputs[f'loss_{ours}'])
        self.values['loss'].append(outputs['loss'])
        self.values['u_prior'].append(self.loss.estimate.prior.clone())

    def after_run(self, runner: Runner) -> None:
        self.find.stop()

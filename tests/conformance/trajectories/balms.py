"""Classifier stage of BALMS on a frozen network: meta sampler and balanced softmax."""

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from toy import ROOT, read_config

from ltmm.datasets.labels import LabelTable
from ltmm.datasets.samplers import MetaSampler
from ltmm.engine.hooks import meta_sampler_hook
from ltmm.registry import DATA_SAMPLERS, DATASETS

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import Recorder, prepare
from .weights import EVALUATION, cifar_depth, compare_state, draw_images, draw_state, rule_of_name


@DATASETS.register_module()
class DrawnImages(Dataset):
    """One image of noise for each sample; sample i has label ``repeat(arange(C), counts)[i]``."""

    def __init__(self, counts: list[int], seed: int) -> None:
        self.labels, self.seed = np.repeat(np.arange(len(counts)), counts), seed
        self.metainfo: dict = {}

    def __len__(self) -> int:
        return len(self.labels)

    def get_label_table(self) -> LabelTable:
        return LabelTable.from_labels(self.labels, self.labels[-1] + 1)

    def __getitem__(self, index: int) -> dict:
        sample = DataSample(metainfo=dict(sample_idx=index)).set_gt_label(int(self.labels[index]))
        return dict(inputs=draw_images(self.seed, index, 1)[0], data_samples=sample)


@DATA_SAMPLERS.register_module()
class GivenNoiseSampler(MetaSampler):
    """The meta sampler with the noise of a case."""

    def __init__(self, dataset: DrawnImages, noise_seed: int, batch: int, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        self.noise_seed, self.batch, self.batches = noise_seed, batch, []

    def noise(self, slot: int) -> np.ndarray:
        step, slot = divmod(self.epoch * self.length + slot, self.batch)
        return np.random.RandomState(self.noise_seed + step).standard_exponential((self.batch, len(self.table)))[slot]

    def take_draws(self, num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.batches.append([sample for sample, *_ in self.draws])
        return super().take_draws(num)


@DATA_SAMPLERS.register_module()
class GivenBatches(Sampler):
    """The meta batches of the steps of an epoch."""

    def __init__(self, dataset: DrawnImages, index: list, seed: int | None = None) -> None:
        self.index = index  # of each epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(self.index[self.epoch])


class RatesRecorder(Recorder):
    """Records the rates after each step too."""

    def __init__(self) -> None:
        super().__init__()
        self.rate_logits: list[Tensor] = []

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        super().after_train_iter(runner, *args, **kwargs)
        self.rate_logits.append(runner.model.class_rates.logits.clone())


@adaptor('trajectory_balms')
def balms(case: Case) -> dict[str, Any]:
    params = case.params
    recorder, inner, meta, gradients, original = RatesRecorder(), [], [], [], torch.autograd.grad

    def recording(loss: Tensor, inputs: Any, create_graph: bool = False) -> tuple[Tensor, ...]:
        result = original(loss, inputs, create_graph=create_graph)
        (inner if create_graph else meta).append(loss.item())
        gradients.extend([] if create_graph else result)
        return result

    with TemporaryDirectory() as folder, mock.patch.object(Tensor, 'float', Tensor.double):
        runner = _runner(case, folder)
        runner.register_hook(recorder)
        with mock.patch.object(meta_sampler_hook.torch.autograd, 'grad', recording):
            runner.train()
    model, end = runner.model.eval(), runner.model.state_dict()
    final = [end[_our_name(name)] for _, name, _ in params['state']]
    compare_state(case, 'final', final)
    with torch.no_grad():
        eval_logits = model(draw_images(params['seed_x'], EVALUATION, len(case.arrays['eval_logits'])))
    return dict(
        loss=[step['loss'] for step in recorder.losses],
        loss_inner=inner,
        loss_meta=meta,
        lr=[step['lr'][0] for step in recorder.rates],
        learner=torch.stack(recorder.rate_logits),
        learner_grad=torch.stack(gradients),
        batch_index=runner.train_dataloader.sampler.batches,
        eval_logits=eval_logits,
    )


def _runner(case: Case, folder: str) -> Runner:
    """The shipped config on the data and from the weights of a case."""
    params, index = case.params, case.arrays['meta_index']
    counts, batch = params['counts'], params['batch']
    dataset = dict(type='ltmm.DrawnImages', counts=counts, seed=params['seed_x'])
    cfg = read_config(ROOT / 'configs/cifar100_lt/balms_r32.py')
    prepare(cfg, folder, None)
    loader = dict(num_workers=0, collate_fn=dict(type='default_collate'), dataset=dataset)
    sampler = dict(
        type='ltmm.GivenNoiseSampler',
        noise_seed=params['seed_g'],
        batch=batch,
        length=batch * params['steps_per_epoch'],
    )
    meta_index = index.reshape(params['num_epochs'], -1).tolist()
    meta_sampler = dict(type='ltmm.GivenBatches', index=meta_index)
    cfg.train_dataloader = dict(loader, batch_size=batch, sampler=sampler)
    (hook,) = (hook for hook in cfg.custom_hooks if hook.type == 'ltmm.MetaSamplerHook')
    hook.update(
        lr=params['meta_lr'],
        init_power=params['init_pow'],
        dataloader=dict(loader, batch_size=index.shape[1], sampler=meta_sampler),
    )
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'ltmm.LoadPartsHook']  # the classifier too
    cfg.merge_from_dict(
        {
            'model.backbone.depth': cifar_depth(params['state']),
            'model.head.num_classes': len(counts),
            'data_preprocessor.num_classes': len(counts),
            'optim_wrapper.optimizer.lr': params['lr'],
            'train_cfg.max_epochs': params['num_epochs'],
            'load_from': f'{folder}/given.pth',
        }
    )
    runner = Runner.from_cfg(cfg)
    runner.model.double()
    entries = [(i, name, shape, rule_of_name(name, shape)) for i, name, shape in params['state']]
    drawn = draw_state(entries, params['seed_w'])
    weights = {_our_name(name): value for name, value in drawn.items() if not name.startswith('learner')}
    torch.save(dict(state_dict=weights), cfg.load_from)
    return runner


def _our_name(name: str) -> str:
    if name.startswith('learner'):
        return 'class_rates.logits'
    return our_name(name.replace('feat_model.', '').replace('classifier.fc', 'linear'))

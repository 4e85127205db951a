"""GBME: proxy of the class counts, rounds of all experts, rounds of each expert on its clients, FedAvg."""

from collections.abc import Callable
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from toy import ROOT, read_config

from ltmm.registry import DATASETS
from ltmm.tasks.federated import FederatedTrainLoop, total_counts
from ltmm.tasks.federated import loop as federated_loop

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import WORDS, Recorder, prepare
from .weights import EVALUATION, TRANSPOSED, compare_state, draw_images, draw_state

NUM_CLASSES = 10


@DATASETS.register_module()
class GivenClientImages(BaseDataset):
    """The images of all clients in a row."""

    METAINFO = dict(classes=tuple(f'class {c}' for c in range(NUM_CLASSES)))

    def __init__(self, labels: list[list[int]], seed: int, **kwargs: Any) -> None:
        self.labels, self.seed = labels, seed
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        rows = [client_images(self.seed, k, labels) for k, labels in enumerate(self.labels)]
        labels = np.concatenate(self.labels).tolist()
        return [dict(img=img, gt_label=label) for img, label in zip(torch.cat(rows), labels, strict=True)]

    def prepare_data(self, idx: int) -> dict:
        record = self.get_data_info(idx)
        return dict(inputs=record['img'], data_samples=DataSample().set_gt_label(record['gt_label']))


def client_images(seed: int, client: int, labels: list[int]) -> Tensor:
    """Noise around a mean of the class, (n, 3, 32, 32)."""
    means = np.random.RandomState(seed - 1).standard_normal((NUM_CLASSES, 3))
    return draw_images(seed, client, len(labels)) + torch.from_numpy(means)[list(labels), :, None, None]


class Records:
    """Stands for functions of the loop and keeps what they return."""

    def __init__(self) -> None:
        self.turns: list[tuple[int, int, list[int]]] = []
        self.averages: list[dict[str, Tensor]] = []
        self.proxy_losses: list[float] = []

    def patches(self) -> list[Any]:
        turns, average, make = FederatedTrainLoop.turns, federated_loop.fedavg, federated_loop.cross_entropy_step

        def recorded_turns(loop: FederatedTrainLoop) -> list:
            found = turns(loop)
            self.turns += [(loop.epoch, -1 if e is None else e, clients) for e, clients in found]
            return found

        def recorded_average(*args: Any) -> dict[str, Tensor]:
            self.averages.append(average(*args))
            return self.averages[-1]

        def recorded_step(*args: Any) -> Callable:
            step = make(*args)
            return lambda *inputs: self.proxy_losses.append(step(*inputs).item())

        return [
            mock.patch.object(FederatedTrainLoop, 'turns', recorded_turns),
            mock.patch.object(federated_loop, 'fedavg', recorded_average),
            mock.patch.object(federated_loop, 'cross_entropy_step', recorded_step),
            mock.patch.object(Tensor, 'float', Tensor.double),  # as in the authors' run
        ]


@adaptor(
    'trajectory_gbme',
    ignores=WORDS | {'seed_y': 'labels are given', 'partition_alpha': 'clients are given', 'imb_factor': 'as well'},
    slow=True,
)
def gbme(case: Case) -> dict[str, Any]:
    params, recorder, records = case.params, Recorder(), Records()
    labels = [row[row >= 0].tolist() for row in case.arrays['labels']]
    case.check('client_sizes', [*map(len, labels)], params['client_sizes'])
    assert params['args']['method'] == 'ldae_train_exp_esti_global'
    with TemporaryDirectory() as folder:
        patches = records.patches()
        for patch in patches:
            patch.start()
        try:
            runner = Runner.from_cfg(_config(case, folder, labels))
            runner.model.double()
            entries = params['init']
            weights = draw_state(entries, params['seed_w'])
            transposed = {name for _, name, _, rule in entries if rule in TRANSPOSED}
            weights = {our_name(n[9:]): v.T if n in transposed else v for n, v in weights.items()}
            _save(runner.model, weights, runner._load_from)
            runner.register_hook(recorder)
            runner.train()
        finally:
            for patch in patches:
                patch.stop()

    def by_authors_name(state: dict[str, Tensor]) -> list[Tensor]:
        named = [(name, state[our_name(name[9:])]) for _, name, _ in params['state']]  # without "backbone."
        return [value.T if name in transposed else value for name, value in named]

    estimate, end = runner.train_loop.estimate, runner.model.eval()
    compare_state(case, 'state', by_authors_name(end.state_dict()))
    width = case.arrays['selected'].shape[1]
    images = client_images(params['seed_x'], EVALUATION, [i % NUM_CLASSES for i in range(20)])
    with torch.no_grad():
        logits = end.head.expert_logits(end.extract_feat(images))
    return dict(
        proxy_counts=estimate,
        proxy_total=total_counts(estimate),
        selected=[([r, e, *clients] + [-1] * width)[:width] for r, e, clients in records.turns],
        loss_proxy=records.proxy_losses,
        loss_total=[step['loss'] for step in recorder.losses],
        lr=[step['lr'][0] for step in recorder.rates],
        aggregate_norm=[[x.double().norm() for x in by_authors_name(average)] for average in records.averages],
        eval_logits=logits.mean(0),
        eval_expert_logits=logits,
    )


def _config(case: Case, folder: str, labels: list[list[int]]) -> Any:
    params = case.params
    cfg = read_config(ROOT / 'configs/federated/gbme_r32.py')
    prepare(cfg, folder, None)
    cfg.train_dataloader.dataset = dict(type='ltmm.GivenClientImages', labels=labels, seed=params['seed_x'])
    ends = np.cumsum([0, *map(len, labels)]).tolist()
    assert len(labels) == params['client_num_in_total']
    experts, args, rounds = params['num_experts'], params['args'], params['comm_round']
    cfg.train_cfg.clients = [list(range(*bounds)) for bounds in pairwise(ends)]
    cfg.train_cfg.experts.share = args['beta']
    cfg.merge_from_dict(
        {
            'train_cfg.clients_per_round': params['client_num_per_round'],
            'train_cfg.local_epochs': params['epochs'],
            'train_cfg.max_rounds': rounds,
            'train_cfg.published': ['draws', *['estimate'] * (params['proxy'] == 'published')],
            'load_from': f'{folder}/given.pth',
            'train_dataloader.batch_size': params['batch_size'],
            'train_dataloader.num_workers': 0,
            'train_dataloader.sampler.shuffle': False,
            'data_preprocessor.num_classes': NUM_CLASSES,
            'optim_wrapper.optimizer.lr': args['lr'],
            'optim_wrapper.optimizer.weight_decay': args['wd'],
            'param_scheduler.0.milestones': [int(4 * rounds / 5)],
            'param_scheduler.0.gamma': args['lr_decay'],
            'model.backbone.depth': 8,
            'model.backbone.channels': (16, params['layer2_output_dim'], params['layer3_output_dim']),
            'model.backbone.num_experts': experts,
            'model.head.num_experts': experts,
            'model.head.num_classes': NUM_CLASSES,
            'model.head.in_channels': params['layer3_output_dim'],
            'model.head.loss.expert_factor': params['expert_loss_factor'],
        }
    )
    if not params['use_norm']:
        cfg.model.head.classifier = dict(type='ltmm.Linear')
    return cfg


def _save(model: nn.Module, weights: dict[str, Tensor], path: str) -> None:
    """Write a checkpoint of the given weights, which must fill all but the class counts."""
    ours = {name for name in model.state_dict() if 'class_distribution' not in name}
    assert ours == weights.keys(), f'in the model or in the case only: {sorted(ours ^ weights.keys())}'
    torch.save(dict(state_dict={name: value.contiguous() for name, value in weights.items()}), path)

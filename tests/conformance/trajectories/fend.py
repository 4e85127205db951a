"""FEND: training on given tracks, hardness and clusters."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from toy import ROOT, read_config

from ltmm.registry import DATA_SAMPLERS, DATASETS
from ltmm.tasks.trajectory import PrototypeContrastHook, contrast, min_ade_fde

from ..adaptors.fend import cell_name
from ..frame import Case, adaptor
from .frame import Recorder
from .weights import EVALUATION, compare_state, draw_state

NAMES = {
    'node_history_encoder.': 'encoder.lstm.',
    'decoder/state_action.0.': 'decoder.action.',
    'decoder/initial_h.': 'decoder.initial_h.',
    'decoder/initial_hyper_h.': 'decoder.initial_hyper.',
    'decoder/proj_to_GMM_mus.': 'decoder.velocity.',
    'con_head.': 'projector.0.',
}
UNUSED = ('decoder/rnn_cell.c_hat_hyper.', 'cluster_con_head.')  # have no part in the loss


def draw_tracks(seed: int, num: int, horizon: int, dt: float) -> tuple[Tensor, Tensor]:
    """Observed states (N, 8, 4), and future positions (N, H, 2)."""
    generator, steps = np.random.RandomState(seed), 8 + horizon
    velocity = generator.standard_normal((num, 1, 2))
    velocity = velocity + 0.3 * np.cumsum(generator.standard_normal((num, steps, 2)), axis=1)
    position = dt * np.cumsum(velocity, axis=1)
    position = position - position[:, 7:8]
    states = np.concatenate([position, velocity], axis=2)
    return torch.from_numpy(states[:, :8]), torch.from_numpy(position[:, 8:])


@DATASETS.register_module()
class GivenTracks(Dataset):
    """The tracks of a case.

    Args:
        tracks: Arguments of :func:`draw_tracks`.
        score: Hardness of each.
    """

    def __init__(self, tracks: Sequence, score: Sequence[float]) -> None:
        self.past, self.future = draw_tracks(*tracks)
        self.score = score
        self.metainfo: dict = {}

    def tracks(self) -> tuple[Tensor, Tensor]:
        return self.past[..., :2], self.future

    def __len__(self) -> int:
        return len(self.past)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(past=self.past[index], future=self.future[index], hardness=self.score[index], sample_idx=index)


@DATA_SAMPLERS.register_module()
class GivenOrder(Sampler):
    """The order of the tracks in each epoch that happens; none in the others.

    Args:
        dataset: Not used.
        order: By epoch, from 0.
        seed: Not used.
    """

    def __init__(self, dataset: Dataset, order: dict[int, list[int]], seed: int | None = None) -> None:
        self.order, self.epoch = order, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(next(iter(self.order.values())))

    def __iter__(self) -> Iterator[int]:
        yield from self.order.get(self.epoch, [])


@adaptor('trajectory_fend', ignores={'seed_y': 'scores, clusters and order are stored'}, slow=True)
def fend(case: Case) -> dict[str, Any]:
    params = case.params
    horizon, dt = params['prediction_horizon'], params['dt']
    epochs = [epoch - 1 for epoch in params['epochs']]
    index = case.arrays['index']
    case.check('index', index.shape, (len(epochs), params['num_tracks'] // params['batch'], params['batch']))
    weights = draw_state(params['init'], params['seed_w'])
    recorder, sums, temperatures = Recorder(), [], []
    before, fit = PrototypeContrastHook.before_every_epoch, contrast.PrototypeContrast.fit_prototypes

    def if_listed(self: PrototypeContrastHook, runner: Runner, epoch: int) -> None:
        if epoch in epochs:
            before(self, runner, epoch)

    def record(self: contrast.PrototypeContrast) -> None:
        fit(self)
        if self.epoch >= self.warmup_epochs:
            sums.append([part.sum() for part in self.prototypes.means.split(self.num_clusters)])
            temperatures.append(self.temperatures.values.clone())

    with (
        TemporaryDirectory() as folder,
        mock.patch.object(Tensor, 'float', Tensor.double),
        mock.patch.object(contrast, 'cluster_tracks', lambda *args: case['clusters'].T),
        mock.patch.object(PrototypeContrastHook, 'before_every_epoch', if_listed),
        mock.patch.object(contrast.PrototypeContrast, 'fit_prototypes', record),
    ):
        runner = Runner.from_cfg(_config(case, folder, epochs))
        model = runner.model.double()
        used = {_our_name(name): value for name, value in weights.items() if not _is_unused(name)}
        for network in (model.network, model.momentum_network.module):
            network.load_state_dict(used)
        runner.register_hook(recorder)
        runner.train()

    model.eval()
    network = model.network
    for prefix, ours in dict(state=network, momentum=model.momentum_network.module).items():
        end = ours.state_dict()
        names = [name for _, name, _ in params['state']]
        compare_state(case, prefix, [weights[n] if _is_unused(n) else end[_our_name(n)] for n in names])
    past, future = draw_tracks(params['seed_x'] + EVALUATION, 6, horizon, dt)
    with torch.no_grad():
        prediction, features = model(past), nn.functional.normalize(network(past), dim=1)
    ade, fde = min_ade_fde(prediction, future)
    losses = [[step[name] for step in recorder.losses] for name in ('loss_ewta', 'loss_prototype', 'loss_instance')]
    factor = np.repeat([1.0 if epoch < 20 else 0.2 for epoch in params['epochs']], index.shape[1])
    terms = np.array(losses).T / np.stack([np.ones_like(factor), factor, factor], axis=1)
    return dict(
        loss_total=[step['loss'] for step in recorder.losses],
        loss_terms=terms,
        lr=[step['lr'][0] for step in recorder.rates],
        prototype_sum=sums,
        prototype_temperature=torch.stack(temperatures),
        eval_prediction=prediction[:, ::4],
        eval_contrast_features=features,
        eval_min_ade=ade,
        eval_min_fde=fde,
    )


def _config(case: Case, folder: str, epochs: list[int]) -> Any:
    params = case.params
    cfg = read_config(ROOT / 'configs/trajectory/fend_synthetic.py')
    for part in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg[part] = None
    tracks = (params['seed_x'], params['num_tracks'], params['prediction_horizon'], params['dt'])
    order = dict(zip(epochs, case.arrays['index'].reshape(len(epochs), -1).tolist()))
    cfg.train_dataloader.dataset = dict(type='ltmm.GivenTracks', tracks=tracks, score=case.arrays['score'].tolist())
    cfg.train_dataloader.sampler = dict(type='ltmm.GivenOrder', order=order)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, save_last=False)
    cfg.work_dir, cfg.log_level, cfg.experiment_name = folder, 'WARNING', Path(folder).name
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)
    hyper = dict(hyper_hidden=params['hyper_rnn_dim'], hyper_channels=params['hyper_z_dim'])
    contrast_options = dict(
        num_clusters=params['num_clusters'],
        temperature=params['temperature'],
        warmup_epochs=params['warmup_epoch'],
        as_published=True,
    )
    cfg.merge_from_dict(
        {
            'train_dataloader.batch_size': params['batch'],
            'train_cfg.max_epochs': max(epochs) + 1,
            'model.data_preprocessor.rotate': False,
            'model.encoder.hidden': params['enc_dim'],
            'model.decoder.hidden': params['dec_rnn_dim'],
            'model.decoder.horizon': params['prediction_horizon'],
            'model.decoder.dt': params['dt'],
            'model.decoder.hyper': hyper,
            'model.projector_layers': 1,
            'optim_wrapper.optimizer.lr': params['learning_rate'],
            'optim_wrapper.clip_grad.clip_value': params['grad_clip'],
            'param_scheduler': [dict(type='ExponentialLR', gamma=params['learning_decay_rate'], by_epoch=False)],
            **{f'model.contrast.{name}': value for name, value in contrast_options.items()},
        }
    )
    return cfg


def _is_unused(name: str) -> bool:
    return name.removeprefix('PEDESTRIAN/').startswith(UNUSED)


def _our_name(name: str) -> str:
    name = name.removeprefix('PEDESTRIAN/')
    if name.startswith('decoder/rnn_cell.'):
        return 'decoder.cell.' + cell_name(name.removeprefix('decoder/rnn_cell.'))
    prefix = next(prefix for prefix in NAMES if name.startswith(prefix))
    return NAMES[prefix] + name.removeprefix(prefix)

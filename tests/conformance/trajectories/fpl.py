"""Focal pixel learning: training of FSRCNN, and its test in patches and as a whole."""

import re
from collections.abc import Iterable
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset
from toy import ROOT, read_config

from ltmm.registry import DATASETS

from ..frame import Case, adaptor
from .frame import Recorder
from .weights import EVALUATION, RULES, compare_state

NAMES = {
    'head_conv.0': 'features.0',
    'head_conv.1': 'features.1',
    'body_conv.0.0': 'shrink.0',
    'body_conv.0.1': 'shrink.1',
    'tail_conv': 'enlarge',
}
SCALE = 4


@DATASETS.register_module()
class GivenPairs(Dataset):
    """The pairs of all steps in a row."""

    def __init__(self, seed: int, steps: int, batch: int, size: tuple[int, int]) -> None:
        self.pairs = [pair for step in range(steps) for pair in zip(*draw_pairs(seed + step, batch, size))]
        self.metainfo: dict = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        lr, hr = self.pairs[index]
        return dict(inputs=lr, data_samples=dict(hr=hr, sample_idx=index))


def draw_pairs(seed: int, batch: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Small and large images, (N, 3, h, w) and (N, 3, 4 h, 4 w)."""
    generator = np.random.RandomState(seed)
    height, width = size
    coarse = generator.uniform(size=(batch, 3, height, width)).repeat(SCALE, 2).repeat(SCALE, 3)
    hr = torch.from_numpy(0.8 * coarse + 0.2 * generator.uniform(size=coarse.shape))
    return nn.functional.avg_pool2d(hr, SCALE), hr


@adaptor('trajectory_fpl')
def fpl(case: Case) -> dict[str, Any]:
    params, recorder = case.params, Recorder()
    weights = {_our_name(name, params): _draw(params, i, shape, kind) for i, name, shape, kind in params['init']}
    with TemporaryDirectory() as folder:
        runner = Runner.from_cfg(_config(params, folder))
        runner.model.double().backbone.load_state_dict(weights)
        runner.register_hook(recorder)
        runner.train()
    model = runner.model.eval()
    ours = model.backbone.state_dict()
    compare_state(case, 'state', (ours[_our_name(name, params)] for _, name, _ in params['state']))
    seed, batch, size = params['seed_x'], params['batch'], tuple(params['lr_size'])
    with torch.no_grad():
        first = recorder.start.backbone(draw_pairs(seed, batch, size)[0])
        lr, hr = draw_pairs(seed + EVALUATION, 1, tuple(params['test_lr_size']))
        patchwise = torch.stack([sample['sr'] for sample in model.predict(lr, dict(hr=hr))])
        whole = model(lr)
    _compare_images(case, (patchwise, whole))
    return dict(
        residual_step0=first[:, :, ::7, ::7],
        loss_total=[step['loss'] for step in recorder.losses],
        lr=[step['lr'][0] for step in recorder.rates],
        eval_sr_patchwise=patchwise[:, :, 2::9, 2::9],
        eval_sr_whole=whole[:, :, 2::9, 2::9],
        eval_psnr=[-10 * (image - hr).square().mean().log10() for image in (patchwise, whole)],
    )


def _config(params: Any, folder: str) -> Any:
    options = params['opt']
    network, training = options['network'], options['train']
    assert (options['name'], options['task'], network['which_model']) == ('FSRCNN', 'sr', 'FSRCNN')
    assert (options['scale'], network['in_nc']) == (SCALE, network['out_nc'])
    cfg = read_config(ROOT / 'configs/super_resolution/fpl_fsrcnn_x4_div2k.py')
    for part in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg[part] = None
    is_focal = {'fpl': True, 'l1': False}[training['loss']]
    cfg.model.residual = is_focal
    cfg.model.loss.type = f'ltmm.{"FocalPixelLoss" if is_focal else "PixelLoss"}'
    cfg.model.backbone.update(
        in_channels=network['in_nc'], dim=network['d'], shrunk_dim=network['s'], num_mappings=network['m']
    )
    cfg.train_dataloader.dataset = dict(
        type='ltmm.GivenPairs',
        seed=params['seed_x'],
        steps=params['steps'],
        batch=params['batch'],
        size=tuple(params['lr_size']),
    )
    cfg.train_dataloader.update(batch_size=params['batch'], num_workers=0)
    cfg.train_dataloader.sampler.shuffle = False
    cfg.optim_wrapper.optimizer.lr = training['lr']
    (cosine,) = cfg.param_scheduler
    assert cosine.type == 'CosineAnnealingLR'
    cfg.param_scheduler = [
        dict(type=cosine.type, T_max=training['T_period'], eta_min=training['eta_min'], by_epoch=False)
    ]
    cfg.train_cfg.max_epochs = 1
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, save_last=False)
    cfg.work_dir, cfg.log_level, cfg.experiment_name = folder, 'WARNING', folder.rpartition('/')[2]
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)
    return cfg


def _draw(params: Any, i: int, shape: Iterable[int], kind: str) -> Tensor:
    normal = np.random.RandomState(params['seed_w'] + i).standard_normal(tuple(shape))
    return torch.from_numpy(0.25 + 0.05 * normal if kind == 'prelu' else RULES[kind](normal))


def _compare_images(case: Case, images: Iterable[Tensor]) -> None:
    """Norm and projections of the whole images, relative to the norm."""
    for k, image in enumerate(images):
        x = image.flatten().numpy()
        expected = np.append(case.arrays['eval_norm'][k], case.arrays['eval_proj'][k])
        projections = [np.random.RandomState(77 + seed).standard_normal(x.size) @ x for seed in range(3)]
        case.check(f'eval {k}', [np.linalg.norm(x), *projections], expected, np.full(4, expected[0]))


def _our_name(name: str, params: Any) -> str:
    layer, _, parameter = name.rpartition('.')
    if layer in NAMES:
        return f'{NAMES[layer]}.{parameter}'
    k, last = int(re.match(r'body_conv\.(\d+)', layer)[1]), params['opt']['network']['m'] + 2
    if k < last:  # mapping layers from 1 on, and their activation
        return f'map.{k - 1}.{parameter}'
    return f'expand.{layer.rpartition(".")[2]}.{parameter}'

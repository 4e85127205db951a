"""The model: shapes, rotations, a short training, resume, two processes."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor
from toy import ROOT, read_config
from toy_ranks import on_ranks

from ltmm.registry import MODELS
from ltmm.tasks.trajectory import (
    HyperLSTMCell,
    PrototypeContrast,
    SyntheticTrajectories,
    TrajectoryDataPreprocessor,
    TrajectoryDecoder,
    draw_predictions,
)
from ltmm.utils.errors import InputError


def config(folder: Path, name: str = 'fend_synthetic', max_epochs: int = 4) -> Config:
    cfg = read_config(ROOT / f'configs/trajectory/{name}.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.batch_size, loader.dataset.num_tracks = 32, 80
    cfg.merge_from_dict(
        {
            'model.encoder.hidden': 8,
            'model.decoder.hidden': 8,
            'train_cfg.max_epochs': max_epochs,
            'train_cfg.val_interval': 2,
            'default_hooks.checkpoint.interval': 1,
            'default_hooks.checkpoint.max_keep_ckpts': -1,
            'work_dir': str(folder),
            'log_level': 'WARNING',
            'experiment_name': folder.name,
            'visualizer': dict(type='Visualizer', name=folder.name),
        }
    )
    if cfg.model.get('contrast'):
        cfg.model.contrast.update(num_clusters=(4, 6), warmup_epochs=2)
    return cfg


def model(hyper: bool = True, contrast: bool = True, **kwargs) -> torch.nn.Module:
    return MODELS.build(
        dict(
            type='ltmm.TrajectoryPredictor',
            encoder=dict(type='ltmm.TrajectoryEncoder', hidden=5),
            decoder=dict(
                type='ltmm.TrajectoryDecoder',
                hidden=7,
                horizon=4,
                num_predictions=3,
                dt=0.5,
                hyper=dict(hyper_hidden=4, hyper_channels=2) if hyper else None,
            ),
            loss=dict(type='ltmm.EWTALoss'),
            contrast=dict(type='ltmm.PrototypeContrast', num_clusters=(2,)) if contrast else None,
            **kwargs,
        )
    )


@pytest.mark.parametrize('hyper', [False, True])
def test_predictions(hyper: bool):
    net = model(hyper).eval()
    past = torch.randn(6, 8, 4)
    assert net(past).shape == (6, 3, 4, 2) and net(past[:0]).shape == (0, 3, 4, 2)
    torch.testing.assert_close(net(past[2:4]), net(past)[2:4])
    data = dict(past=past, future=torch.randn(6, 4, 2), hardness=torch.rand(6), sample_idx=torch.arange(6))
    samples = net(**data, mode='predict')
    assert len(samples) == 6 and samples[5]['sample_idx'] == 5
    torch.testing.assert_close(samples[1]['prediction'], net(past)[1])
    with pytest.raises(InputError, match="'tensor', 'loss' or 'predict'"):
        net(past, mode='test')


def test_decoder_integrates_velocities():
    decoder = TrajectoryDecoder(5, hidden=7, horizon=4, num_predictions=3, dt=0.5)
    encoding, state = torch.randn(2, 5), torch.randn(2, 4)
    with torch.no_grad():
        decoder.velocity.weight.zero_()
        decoder.velocity.bias.copy_(torch.arange(6.0))
    track = decoder(encoding, decoder.feature(encoding, state))
    expected = torch.arange(6.0).view(3, 1, 2) * 0.5 * torch.arange(1.0, 5).view(4, 1)
    torch.testing.assert_close(track, expected.expand(2, -1, -1, -1))


def test_hyper_cell_rescales_each_track():
    cell = HyperLSTMCell(3, 4, feature_channels=5, hyper_hidden=2, hyper_channels=1).double()
    x, h, c, hyper_h = (torch.randn(2, n, dtype=torch.float64) for n in (3, 4, 4, 2))
    got_h, got_c = cell(x, h, c, cell.modulation(hyper_h))
    for i in range(2):
        scale_x, scale_h = cell.d_x(cell.z_x(hyper_h[i])), cell.d_h(cell.z_h(hyper_h[i]))
        gates = (scale_x.unsqueeze(1) * cell.weight_x) @ x[i] + (scale_h.unsqueeze(1) * cell.weight_h) @ h[i]
        gates = cell.norm(gates + cell.d_b(cell.z_b(hyper_h[i])))
        expected = gates[4:8].sigmoid() * c[i] + gates[:4].sigmoid() * gates[8:12].tanh()
        torch.testing.assert_close(got_c[i], expected)
        torch.testing.assert_close(got_h[i], gates[12:].sigmoid() * expected.tanh())


def test_rotation_keeps_shape():
    data = dict(past=torch.randn(5, 8, 4), future=torch.randn(5, 12, 2), hardness=torch.rand(5))
    turned = TrajectoryDataPreprocessor()(dict(data), training=True)
    assert not torch.allclose(turned['past'], data['past'])
    torch.testing.assert_close(turned['hardness'], data['hardness'])
    tracks = [torch.cat([d['past'][..., :2], d['past'][..., 2:], d['future']], dim=1) for d in (data, turned)]
    torch.testing.assert_close(*(t @ t.transpose(1, 2) for t in tracks))  # all lengths and angles
    for kept in (TrajectoryDataPreprocessor()(dict(data)), TrajectoryDataPreprocessor(rotate=False)(dict(data), True)):
        torch.testing.assert_close(kept['past'], data['past'])


def test_fend_resumes_exactly(tmp_path: Path):
    (tmp_path / 'whole').mkdir()
    (tmp_path / 'parts').mkdir()
    whole = Runner.from_cfg(config(tmp_path / 'whole'))
    whole.train()
    contrast = whole.model.contrast
    assert contrast.clusters.values.min() >= 0 and contrast.features.values.any(dim=1).all()
    assert contrast.prototypes.counts.sum() == 2 * 80
    assert whole.model.momentum_network.steps == 3  # before the epochs 1, 2, 3
    resumed = config(tmp_path / 'parts')
    resumed.load_from, resumed.resume = str(tmp_path / 'whole/epoch_2.pth'), True
    resumed = Runner.from_cfg(resumed)
    resumed.train()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)


def test_short_training_improves(tmp_path: Path):
    cfg = config(tmp_path, 'ewta_synthetic', max_epochs=6)
    runner = Runner.from_cfg(cfg)
    before = runner.val()['trajectory/ade_all']
    runner.train()
    assert runner.message_hub.get_scalar('val/trajectory/ade_all').current() < before
    other = config(tmp_path, 'ewta_hyper_synthetic')
    other.load_from = str(tmp_path / 'epoch_6.pth')
    with pytest.raises(InputError, match=r'Expected a checkpoint of this model, but it lacks 17 of 27 parameters'):
        Runner.from_cfg(other).test()


def test_contrast_on_two_ranks(tmp_path: Path):
    torch.manual_seed(0)
    raw, hardness = torch.randn(6, 4), torch.rand(6) * 3

    def run(rows: slice, collect: bool = False) -> dict[str, Tensor]:
        torch.manual_seed(1)
        loss = PrototypeContrast(feat_dim=4, num_clusters=(2, 3), warmup_epochs=1, min_hardness=1.0)
        loss.clusters.resize(6)
        loss.features.resize(6)
        loss.clusters.values.copy_(torch.stack([torch.arange(6) % 2, 2 + torch.arange(6) % 3], dim=1))
        loss.features.write(torch.arange(6)[rows], torch.randn(6, 4)[rows])
        loss.set_progress(1, 5)
        loss.fit_prototypes()
        own = raw[rows].clone().requires_grad_()
        terms = loss(own, hardness[rows], torch.arange(6)[rows])
        sum(terms.values()).backward()
        return dict(means=loss.prototypes.means, grad=own.grad, **{k: v.detach() for k, v in terms.items()})

    whole = run(slice(None))
    parts = on_ranks(lambda rank: run(slice(0, 2) if rank == 0 else slice(2, 6)), tmp_path)
    for part in parts:
        torch.testing.assert_close(part['means'], whole['means'])
    for name in ('loss_prototype', 'loss_instance'):
        torch.testing.assert_close((parts[0][name] + parts[1][name]) / 2, whole[name])
    torch.testing.assert_close(torch.cat([part['grad'] for part in parts]) / 2, whole['grad'])


def test_pictures(tmp_path: Path):
    dataset = SyntheticTrajectories(num_tracks=10)
    past, future = torch.tensor(dataset.past[:2]), torch.tensor(dataset.future[:2])
    predictions = dict(a=torch.randn(2, 3, 12, 2).double(), b=torch.randn(2, 3, 12, 2).double())
    draw_predictions(predictions, past, future, ['one', 'two'], str(tmp_path / 'x.png'))
    assert (tmp_path / 'x.png').stat().st_size > 5000

import runpy
import sys

import numpy as np
import pytest
import torch
from toy import ROOT, ToyImages, toy_config

from ltmm.apis.attention import attention_maps, show_attention
from ltmm.apis.split import load_split
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

NECK = [
    dict(type='ltmm.ModulatedAttention', in_channels=8, spatial_size=2),
    dict(type='LinearNeck', in_channels=8, out_channels=8, gap_dim=2, norm_cfg=None, act_cfg=dict(type='ReLU')),
]


def save(tmp_path, neck=NECK):
    """A config, and a checkpoint whose attention does something."""
    cfg = toy_config(tmp_path / 'train')
    cfg.model.backbone.pooled = neck is None
    if neck:
        cfg.model.neck = neck
    cfg.dump(tmp_path / 'toy_attention.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    for name, parameter in model.named_parameters():
        if 'conv_mask' in name:
            parameter.data.normal_()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'toy.pth')
    return cfg, str(tmp_path / 'toy.pth')


def test_maps_and_pixels(tmp_path):
    split = load_split(*save(tmp_path), 'test', 'cpu')
    rows = np.array([0, 3, 41, 60, 63])
    maps = attention_maps(split, rows)
    dataset = ToyImages()
    pixels = np.stack([dataset.get_data_info(i)['img'] for i in rows])
    np.testing.assert_array_equal(maps.images, pixels)
    model = split.trained.model
    x = ((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 128) / 64).requires_grad_(False)
    with torch.no_grad():
        (feats,) = model.backbone(x)
        spatial = model.neck[0].fc_spatial(feats.flatten(1)).softmax(1)
        added = model.neck[0]((feats,))[0] - feats
        prediction = model.head(model.neck(model.backbone(x))).argmax(1)
    np.testing.assert_allclose(maps.weights.reshape(5, 4), spatial.numpy(), rtol=1e-5)
    change = 100 * added.flatten(1).norm(dim=1) / feats.flatten(1).norm(dim=1)
    np.testing.assert_allclose(maps.change, change.numpy(), rtol=1e-3)
    assert maps.prediction.tolist() == prediction.tolist()
    assert maps.change.min() > 0


def test_model_keeps_nothing(tmp_path):
    split = load_split(*save(tmp_path), 'test', 'cpu')
    model = split.trained.model
    before = set(model.neck[0].__dict__)
    attention_maps(split, np.arange(3))
    assert set(model.neck[0].__dict__) == before
    assert not model.neck[0]._forward_hooks and not model.backbone._forward_pre_hooks


def test_files_are_turned_to_rgb(tmp_path, monkeypatch):
    split = load_split(*save(tmp_path), 'test', 'cpu')
    as_array = attention_maps(split, np.arange(2)).images
    monkeypatch.setattr('ltmm.apis.image_files.holds_arrays', lambda cfg: False)
    as_file = attention_maps(split, np.arange(2)).images
    np.testing.assert_array_equal(as_array[..., ::-1], as_file)
    assert not np.array_equal(as_array, as_file)


def test_model_without_attention(tmp_path):
    split = load_split(*save(tmp_path, None), 'test', 'cpu')
    with pytest.raises(InputError, match=r'one ltmm.ModulatedAttention.*but got 0'):
        show_attention(split, tmp_path / 'a.png', name='toy', per_class=99)  # which no class has


def test_tool(tmp_path, capsys, monkeypatch):
    _, checkpoint = save(tmp_path)
    args = [tmp_path / 'toy_attention.py', checkpoint, '--per-class', 6, '--columns', 3, '--out', tmp_path / 'a.svg']
    monkeypatch.setattr(sys, 'argv', ['plot_attention.py', *map(str, args)])
    runpy.run_path(str(ROOT / 'tools/analysis_tools/plot_attention.py'))['main']()
    printed = capsys.readouterr().out
    assert 'positions of 4' in printed and f'Wrote {tmp_path / "a.svg"}' in printed
    text = (tmp_path / 'a.svg').read_text()
    assert text.count('<image ') == 2 * 2 + 1  # of the two few-shot classes, as no class is many-shot; and the scale
    assert '<!-- few-shot -->' in text and '<!-- many-shot -->' not in text
    assert 'mean of 18 images' in text

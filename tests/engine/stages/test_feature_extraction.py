import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn
from toy import COUNTS, toy_config

from ltmm import ClassDistribution
from ltmm.datasets import FeatureDataset, LabelTable, class_distribution_of
from ltmm.engine.runner.model_outputs import ModelOutputs, build_test_loader, model_outputs
from ltmm.engine.stages import feature_extraction
from ltmm.engine.stages.feature_extraction import extract_features, extract_splits
from ltmm.registry import MODELS


@pytest.fixture
def parts(tmp_path):
    """A model with random weights and a loader."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = toy_config(tmp_path)
        yield MODELS.build(dict(cfg.model)), build_test_loader(cfg, cfg.train_dataloader.dataset)


def test_files_hold_the_features_of_each_image(parts, tmp_path):
    info = extract_features(*parts, tmp_path / 'features', 'train', dict(config='toy.py'))
    dataset = FeatureDataset(str(tmp_path / 'features'), 'train')
    expected = ModelOutputs.join(model_outputs(*parts))
    batch = dataset.__getitems__(range(len(dataset)))
    assert torch.equal(batch['inputs'], expected.features)
    assert dataset.get_gt_labels().tolist() == expected.label.tolist()
    assert (info['num_samples'], info['width'], info['config']) == (sum(COUNTS), 8, 'toy.py')
    assert ClassDistribution.build(info['class_distribution']) == class_distribution_of(dataset)
    assert sorted(path.name for path in (tmp_path / 'features').iterdir()) == [
        'train_features.npy',
        'train_info.json',
        'train_labels.npy',
    ]


def test_interrupted_run_leaves_no_files(parts, tmp_path):
    model, loader = parts
    calls = []

    def fail(module, args):
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt

    model.backbone.register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        extract_features(model, loader, tmp_path / 'features', 'train', {})
    assert not list((tmp_path / 'features').iterdir())


def test_too_little_space(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_extraction.shutil, 'disk_usage', lambda _: SimpleNamespace(free=100))
    with pytest.raises(OSError, match='0.0 GiB left'):
        extract_features(*parts, tmp_path, 'train', {})


def test_several_labels_per_image_are_refused(parts, tmp_path):
    class TwoLabels:
        def get_label_table(self):
            return LabelTable.from_lists([[0, 1], [0]], 2)

    with pytest.raises(ValueError, match='one label per sample in train, but got 3 on 2'):
        extract_features(parts[0], SimpleNamespace(dataset=TwoLabels()), tmp_path, 'train', {})


class OneNumber(nn.Module):
    """A neck that pools features (N, D) over D."""

    def forward(self, feats):
        return (feats[-1].mean(1, keepdim=True),)


class TwoMore(nn.Module):
    """A neck that adds two features."""

    def forward(self, feats):
        return (nn.functional.pad(feats[-1], (0, 2)),)


@pytest.mark.parametrize('neck, message', [(OneNumber, 'one number per image'), (TwoMore, 'Set in_channels=10')])
def test_features_that_the_head_refuses(parts, tmp_path, neck, message):
    model, loader = parts
    model.neck = neck()
    with pytest.raises(ValueError, match=message):
        extract_features(model, loader, tmp_path, 'train', {})


def test_random_weights(tmp_path):
    cfg = toy_config(tmp_path / 'run')
    with pytest.raises(ValueError, match='21 parameters of the features would be random.*--allow-random'):
        extract_splits(cfg, None, tmp_path / 'refused', ['val'])
    extract_splits(cfg, None, tmp_path / 'random', ['val'], allow_random=True)
    assert json.loads((tmp_path / 'random/val_info.json').read_text())['checkpoint'] == 'random weights'
    torch.save(MODELS.build(cfg.model.backbone).state_dict(), tmp_path / 'weights.pth')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    extract_splits(cfg, None, tmp_path / 'pretrained', ['val'])
    assert json.loads((tmp_path / 'pretrained/val_info.json').read_text())['checkpoint'] == 'init_cfg'

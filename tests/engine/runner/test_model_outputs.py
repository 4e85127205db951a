import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from toy import COUNTS, toy_config

from ltmm.engine.runner.model_outputs import ModelOutputs, build_test_loader, model_outputs, underlying_datasets
from ltmm.registry import MODELS


@pytest.fixture
def cfg(tmp_path):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield toy_config(tmp_path)


def model_of(cfg) -> ImageClassifier:
    model = MODELS.build({**cfg.model, 'type': 'mmpretrain.ImageClassifier'})
    model.init_weights()
    return model


def test_test_loader_of_the_training_data(cfg):
    cfg.train_dataloader.dataset = ConfigDict(
        type='ltmm.LongTailed', imbalance_factor=2, dataset={**cfg.train_dataloader.dataset, 'counts': (8, 8, 8)}
    )
    loader = build_test_loader(cfg, cfg.train_dataloader.dataset)
    inner = loader.dataset.dataset
    assert [type(t).__name__ for t in inner.pipeline.transforms] == ['PackInputs'] and inner.test_mode
    indices = [sample.sample_idx for batch in loader for sample in batch['data_samples']]
    assert indices == loader.dataset.indices.tolist()
    assert (
        underlying_datasets(cfg.train_dataloader.dataset)[0].pipeline[0].type == 'RandomFlip'
    )  # the config is as it was


def test_features_and_logits_are_those_of_the_model(cfg):
    model, loader = model_of(cfg), build_test_loader(cfg, cfg.test_dataloader.dataset)
    out = ModelOutputs.join(model_outputs(model, loader))
    assert out.features.shape == (sum(COUNTS), 8) and out.logits.shape == (sum(COUNTS), 3)
    assert out.label.bincount().tolist() == list(COUNTS)
    torch.testing.assert_close(model.head.fc(out.features), out.logits)
    assert not model.training
    assert next(model_outputs(model, loader, with_logits=False)).logits is None


def test_outputs_of_several_ranks_are_put_in_order():
    whole = ModelOutputs(torch.arange(7.0)[:, None], torch.arange(14.0).view(7, 2), torch.arange(7))
    parts = [ModelOutputs(whole.features[r::3], whole.logits[r::3], whole.label[r::3]) for r in range(3)]
    joined = ModelOutputs.interleave(parts)
    for name in ('features', 'logits', 'label'):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_feature_maps_are_refused(cfg):
    model = model_of(cfg)
    model.backbone.forward = lambda x: (x,)
    model.head.forward = None
    with pytest.raises(ValueError, match=r'features of shape \(N, D\), but got \(8, 3, 8, 8\). A neck'):
        next(model_outputs(model, build_test_loader(cfg, cfg.test_dataloader.dataset)))


def test_a_model_without_a_head_is_refused():
    with pytest.raises(TypeError, match="derived from mmpretrain's ClsHead, but got Linear"):
        next(model_outputs(torch.nn.Linear(2, 2), []))

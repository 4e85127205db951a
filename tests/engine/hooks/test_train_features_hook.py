import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn
from toy import COUNTS, toy_config
from toy_ranks import on_ranks

from ltmm.engine.hooks.train_features_hook import train_features
from ltmm.engine.runner.model_outputs import build_test_loader
from ltmm.models.state import TrainFeatures, UsesTrainFeatures
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError


class Recorder(UsesTrainFeatures, nn.Module):
    """Keeps the features of every second epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = {}
        self.epoch = None

    def needs_train_features(self, epoch):
        self.epoch = epoch
        return epoch % 2 == 1

    def on_train_features(self, outputs):
        self.outputs[self.epoch] = outputs


def trained(work_dir, *modules: nn.Module, **options) -> Runner:
    runner = Runner.from_cfg(toy_config(work_dir, **options))
    for i, module in enumerate(modules):
        runner.model.backbone.add_module(f'module{i}', module)
    runner.train()
    return runner


def test_modules_get_the_whole_training_set_before_the_epochs_they_choose(tmp_path):
    recorder = Recorder()
    runner = trained(tmp_path, recorder, **{'randomness.seed': 5})
    assert list(recorder.outputs) == [1, 3]
    assert recorder.outputs[1].seed == 5
    before, after = recorder.outputs[1], recorder.outputs[3]
    assert before.sample_idx.tolist() == list(range(sum(COUNTS)))
    assert before.label.bincount().tolist() == list(COUNTS)
    assert before.features.shape == (sum(COUNTS), 8) and before.logits is None
    assert not torch.equal(before.features, after.features)
    again = train_features(runner.model, build_test_loader(runner.cfg, runner.cfg.train_dataloader.dataset), True)
    torch.testing.assert_close(again.logits, runner.model.head.fc(again.features))


def test_the_training_is_the_same_with_and_without(tmp_path):
    plain, observed = trained(tmp_path / 'plain'), trained(tmp_path / 'observed', Recorder())
    weights, expected = observed.model.state_dict(), plain.model.state_dict()
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)  # batch norm's statistics too


class AugmentedRecorder(Recorder):
    num_augmented_passes = 2

    def on_train_features(self, *outputs):
        self.outputs[self.epoch] = outputs


def test_augmented_passes(tmp_path):
    """Two draws of the training transforms in dataset order; the training and a plain pass stay as they are."""
    recorders = [Recorder(), AugmentedRecorder(), AugmentedRecorder()]
    runner = trained(tmp_path / 'observed', *recorders)
    plain, (first, second), again = (recorder.outputs[3] for recorder in recorders)
    assert again == (first, second)
    flipped = [(outputs.features != plain.features).any(1) for outputs in (first, second)]
    for outputs, some in zip((first, second), flipped):
        assert outputs.sample_idx.tolist() == list(range(sum(COUNTS))) and 0.2 < some.float().mean() < 0.8
    assert not torch.equal(*flipped)
    alone = trained(tmp_path / 'plain')
    torch.testing.assert_close(runner.model.state_dict(), alone.model.state_dict(), rtol=0, atol=0)


def test_training_by_iterations(tmp_path):
    cfg = toy_config(tmp_path)
    cfg.train_cfg = dict(by_epoch=False, max_iters=17)  # of 8 an epoch
    cfg.param_scheduler = None
    cfg.default_hooks.checkpoint.by_epoch = False
    recorder = Recorder()
    runner = Runner.from_cfg(cfg)
    runner.model.backbone.add_module('recorder', recorder)
    runner.train()
    assert list(recorder.outputs) == [1] and recorder.epoch == 2


def build_model_and_loader(folder) -> tuple:
    cfg = toy_config(folder)
    cfg.train_dataloader.dataset = ConfigDict(
        type='ltmm.LongTailed', imbalance_factor=3, dataset={**cfg.train_dataloader.dataset, 'counts': (9, 9, 9)}
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        model = MODELS.build({**cfg.model, 'type': 'mmpretrain.ImageClassifier'})
        return model, build_test_loader(cfg, cfg.train_dataloader.dataset, round_up=True)


def features_of_rank(folder):
    return lambda rank: train_features(*build_model_and_loader(folder), with_logits=True)


def test_every_rank_gets_all_samples_in_order(tmp_path):
    expected = features_of_rank(tmp_path)(0)
    _, loader = build_model_and_loader(tmp_path)
    assert len(expected.label) % 2  # a sample comes twice
    assert expected.sample_idx.tolist() == loader.dataset.indices.tolist()
    for outputs in on_ranks(features_of_rank(tmp_path), tmp_path):
        for name in TrainFeatures.__dataclass_fields__:
            torch.testing.assert_close(getattr(outputs, name), getattr(expected, name))


def test_data_samples_without_an_index_are_refused_and_the_modes_restored(tmp_path):
    model, _ = build_model_and_loader(tmp_path)
    model.backbone.eval()
    modes = [module.training for module in model.modules()]
    batch = dict(inputs=torch.zeros(1, 3, 8, 8), data_samples=[DataSample().set_gt_label(0)])
    with pytest.raises(ValueError, match='sample_idx.*PackInputs'):
        train_features(model, [batch])
    assert [module.training for module in model.modules()] == modes


def test_teachers_of_a_model_without_any_are_refused(tmp_path):
    model, loader = build_model_and_loader(tmp_path)
    with pytest.raises(InputTypeError, match='a model that has them, .* but got ImageClassifier'):
        train_features(model, loader, with_teachers=True)


def test_several_labels_per_image_are_refused(tmp_path):
    model, _ = build_model_and_loader(tmp_path)
    samples = [DataSample(metainfo=dict(sample_idx=i)).set_gt_label(label) for i, label in enumerate([[0, 1], [2]])]
    with pytest.raises(InputError, match='one label per sample, but got 3 for 2 samples'):
        train_features(model, [dict(inputs=torch.zeros(2, 3, 8, 8), data_samples=samples)])


class KeyRecorder(Recorder):
    needs_train_key_features = True
    num_augmented_passes = 1


def test_key_encoder_and_the_first_of_several_views(tmp_path):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = toy_config(tmp_path)
        loss = dict(type='ltmm.SupConLoss', in_channels=8, queue_size=4)
        head = dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=8, aux_losses=[loss])
        model = dict(cfg.model, type='ltmm.MomentumClassifier', head=head)
        model['data_preprocessor'] = dict(cfg.model.data_preprocessor, type='ltmm.MultiViewDataPreprocessor')
        model = MODELS.build(model).eval()
    torch.nn.init.ones_(next(model.key_network.parameters()))
    images = [torch.randn(2, 3, 8, 8) for _ in range(2)]
    samples = [DataSample(metainfo=dict(sample_idx=i)).set_gt_label(i) for i in range(2)]
    loader = FakeLoader([dict(inputs=images, data_samples=samples)])
    loader.dataset = samples
    outputs = train_features(model, loader, with_keys=True)
    first = model.data_preprocessor(dict(inputs=images[0], data_samples=samples))['inputs']
    torch.testing.assert_close(outputs.features, model.head.pre_logits(model.extract_feat(first)))
    torch.testing.assert_close(outputs.key_features, model.head.pre_logits(model.key_network(first)))
    assert not torch.equal(outputs.key_features, outputs.features)


class FakeLoader(list):
    """Batches and, as ``dataset``, their samples."""


def test_key_features_of_a_model_without_key_encoder_are_refused(tmp_path):
    with pytest.raises(TypeError, match='key encoder: expected ltmm.MomentumClassifier'):
        trained(tmp_path, KeyRecorder())

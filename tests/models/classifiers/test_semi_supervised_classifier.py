import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from toy_losses import prepare
from toy_semi import semi_config

from ltmm.models.losses.semi import SemiSupervisedLoss
from ltmm.registry import MODELS


@MODELS.register_module(force=True)
class KeepInputs(SemiSupervisedLoss):
    """Keeps its inputs."""

    requires = (*SemiSupervisedLoss.requires, 'features', 'unlabeled_features', 'unlabeled_idx', 'also_labeled')

    def terms(self, inputs):
        self.inputs = inputs
        return dict(loss=inputs.cls_score.sum() + inputs.unlabeled_score.sum())


@pytest.fixture
def model(tmp_path):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = semi_config(tmp_path, loss=dict(type='ltmm.KeepInputs'))
        yield prepare(MODELS.build(cfg.model), [3, 2, 1])


def batch(num_labeled=2, num_unlabeled=3, views=(1, 3)):
    torch.manual_seed(0)
    images = [[torch.randint(256, (n, 3, 8, 8)) for _ in range(v)] for n, v in zip((num_labeled, num_unlabeled), views)]
    labeled = [DataSample(metainfo=dict(sample_idx=i)).set_gt_label(i % 3) for i in range(num_labeled)]
    unlabeled = [DataSample(metainfo=dict(sample_idx=9 + i, also_labeled=i == 1)) for i in range(num_unlabeled)]
    parts = 'labeled', 'unlabeled'
    return dict(inputs=dict(zip(parts, images)), data_samples=dict(zip(parts, (labeled, unlabeled))))


def test_loss_gets_both_parts_of_one_forward_pass(model):
    data = model.data_preprocessor(batch(views=(2, 3)), True)
    assert [len(rows) for rows in data['inputs'].values()] == [4, 9]
    model.eval()  # batch norm by its running statistics: all rows on their own
    model.loss(**data)
    inputs = model.head.loss_module.inputs
    labeled, unlabeled = (model.extract_feat(data['inputs'][part])[-1] for part in ('labeled', 'unlabeled'))
    torch.testing.assert_close(inputs.features, labeled)
    torch.testing.assert_close(inputs.unlabeled_features, unlabeled.unflatten(0, (3, 3)))
    torch.testing.assert_close(inputs.cls_score, model.head.fc(labeled))
    torch.testing.assert_close(inputs.unlabeled_score, model.head.fc(unlabeled).unflatten(0, (3, 3)))
    assert inputs.label.tolist() == [0, 1] and inputs.unlabeled_idx.tolist() == [9, 10, 11]
    assert inputs.also_labeled.tolist() == [False, True, False]


def test_batch_norm_sees_both_parts_at_once(model):
    means = []
    model.backbone.bn1.register_forward_hook(lambda module, args, out: means.append(len(args[0])))
    model.loss(**model.data_preprocessor(batch(), True))
    assert means == [2 + 3 * 3]


def test_predicts_ordinary_batches(model):
    data = dict(inputs=torch.randint(256, (1, 3, 8, 8)), data_samples=[DataSample().set_gt_label(0)])
    (sample,) = model.eval().test_step(data)
    assert sample.pred_score.shape == (3,)


def give_away(data):
    data['data_samples']['unlabeled'][1].set_gt_label(2)


def no_labeled(data):
    data['data_samples']['labeled'] = []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (give_away, 'an unlabeled image carries its label, which losses must not see: use dataset'),
        (no_labeled, 'labeled and unlabeled images in every batch, but got 0 and 3'),
    ],
)
def test_bad_batches(model, change, message):
    data = model.data_preprocessor(batch(), True)
    change(data)
    with pytest.raises(ValueError, match=message):
        model.loss(**data)


def test_bad_input(model):
    with pytest.raises(ValueError, match='expected labeled and unlabeled images, but use dataset'):
        model.loss(torch.zeros(2, 3, 8, 8), [DataSample()] * 2)
    views = batch()
    views['inputs']['labeled'] = [torch.zeros(2, 3, 9, 9)]
    with pytest.raises(ValueError, match='expected views of one size, but got .*8, 8.*9, 9'):
        model.data_preprocessor(views, True)
    backbone = dict(type='ltmm.FlatPixels')
    head = dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=192)
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        pytest.raises(TypeError, match='such as ltmm.FixMatchLoss, but got CrossEntropyLoss'),
    ):
        MODELS.build(dict(type='ltmm.SemiSupervisedClassifier', backbone=backbone, head=head))

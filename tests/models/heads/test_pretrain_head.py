import pytest
import torch
from mmpretrain.structures import DataSample

from ltmm.models.losses import LossInputs, Objective
from ltmm.registry import MODELS

FEATURES = (torch.randn(3, 4),)


@MODELS.register_module()
class NotesInputs(Objective):
    """Keeps what it is given."""

    def __init__(self, needs_labels=True):
        super().__init__()
        self.needs_labels = needs_labels

    def terms(self, inputs: LossInputs):
        self.inputs = inputs
        return dict(loss_noted=inputs.features.mean())


def head(**options):
    return MODELS.build(dict(type='ltmm.PretrainHead', loss=dict(type='ltmm.NotesInputs', **options)))


def samples(*labels):
    return [DataSample(metainfo=dict(sample_idx=9 - i)).set_gt_label(label) for i, label in enumerate(labels)]


def test_hands_over_features_labels_and_indices():
    it, key = head(), torch.randn(3, 4)
    assert it.loss(FEATURES, samples(2, 0, 1), key_features=key) == dict(loss_noted=FEATURES[0].mean())
    noted = it.loss_module.inputs
    assert noted.features is FEATURES[0] and noted.key_features is key
    assert noted.label.tolist() == [2, 0, 1] and noted.sample_idx.tolist() == [9, 8, 7]


def test_unknown_labels_are_minus_one():
    it = head(needs_labels=False)
    it.loss(FEATURES, [DataSample() for _ in range(3)])
    assert it.loss_module.inputs.label.tolist() == [-1, -1, -1]
    some = [*samples(2), DataSample(), *samples([0, 1])]  # the last has several
    it.loss(FEATURES, some)
    assert it.loss_module.inputs.label.tolist() == [2, -1, -1]
    with pytest.raises(ValueError, match=r'NotesInputs needs one label \(`gt_label`\) of each image, but got None'):
        head().loss(FEATURES, some)
    with pytest.raises(ValueError, match=r'but got tensor\(\[0, 1\]\)'):
        head().loss(FEATURES, [*samples(2, 1), some[-1]])


def test_predicts_nothing():
    with pytest.raises(ValueError, match='predicts no classes: set val_cfg'):
        head().predict(FEATURES, [])


@pytest.mark.parametrize('loss', ['CrossEntropyLoss', 'ltmm.BalancedSoftmaxLoss', 'ltmm.BalancedContrastiveLoss'])
def test_losses_of_classes_are_refused(loss):
    options = dict(in_channels=4) if 'Contrastive' in loss else {}
    with pytest.raises(TypeError, match='PretrainHead'):
        MODELS.build(dict(type='ltmm.PretrainHead', loss=dict(type=loss, **options)))

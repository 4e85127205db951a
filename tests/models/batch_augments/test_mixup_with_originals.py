import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample

from ltmm.models.batch_augments import BATCH_AUGMENTS
from ltmm.registry import MODELS

SCORE = F.one_hot(torch.tensor([0, 0, 1, 2]), 3).float()


def build(**options):
    augment = BATCH_AUGMENTS.build(dict(options, type='ltmm.MixupWithOriginals'))
    augment.set_progress(3, 10)
    return augment


def test_the_first_view_is_mixed_and_the_second_is_not():
    """What is drawn is found by replaying the random numbers."""
    inputs, augment, shares = torch.randn(4, 3, 5, 6), build(alpha=0.7), set()
    before = inputs.clone()
    for seed in range(4):
        np.random.seed(seed)
        torch.manual_seed(seed)
        images, score = augment(inputs, SCORE)
        np.random.seed(seed)
        torch.manual_seed(seed)
        share, partner = np.random.beta(0.7, 0.7), torch.randperm(4)
        torch.testing.assert_close(images[:4], share * inputs + (1 - share) * inputs[partner])
        torch.testing.assert_close(score, share * SCORE + (1 - share) * SCORE[partner])
        torch.testing.assert_close(images[4:], inputs, rtol=0, atol=0)
        shares.add(share)
    assert torch.equal(inputs, before) and len(shares) == 4


def test_outside_of_its_epochs_both_views_are_the_images():
    inputs = torch.randn(4, 3, 5, 6)
    images, score = build(start=0.5)(inputs, SCORE)
    assert torch.equal(images, torch.cat([inputs, inputs])) and torch.equal(score, SCORE)


def test_the_data_preprocessor_gives_two_views_and_labels_of_the_first_in_training_only():
    processor = MODELS.build(
        dict(
            type='mmpretrain.ClsDataPreprocessor',
            num_classes=3,
            batch_augments=dict(augments=dict(type='ltmm.MixupWithOriginals')),
        )
    )
    samples = [DataSample().set_gt_label(c) for c in (0, 1, 2)]
    data = dict(inputs=torch.rand(3, 3, 4, 4), data_samples=samples)
    trained, tested = (processor(data, training) for training in (True, False))
    assert len(trained['inputs']) == 6 and len(trained['data_samples']) == 3 and len(tested['inputs']) == 3
    assert torch.equal(trained['inputs'][3:], tested['inputs'])
    assert [int(sample.gt_label) for sample in trained['data_samples']] == [0, 1, 2]  # those of the images themselves


@pytest.mark.parametrize(('name', 'value'), [('alpha', 0), ('start', -0.1), ('end', 1.5)])
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f'`{name}`'):
        build(**{name: value})

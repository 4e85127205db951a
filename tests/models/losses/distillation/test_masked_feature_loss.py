import math

import pytest
import torch

from ltmm.models.losses import MaskedFeatureLoss
from ltmm.models.losses.distillation.masked_feature_loss import box_masks

COUNTS = [50, 3, 40]
SIZES = [(9, 13), (4, 6)]


def random_boxes(number, generator):
    """(x1, y1, x2, y2) as shares, as they come: small ones, and ones over the border."""
    low = torch.rand(number, 2, generator=generator, dtype=torch.float64) * 0.9
    return torch.cat([low, low + torch.rand(number, 2, generator=generator, dtype=torch.float64) * 0.5], 1)


def naive_mask(boxes, size):
    """Slices, as the authors write them."""
    height, width = size
    mask = torch.zeros(size, dtype=torch.bool)
    for x1, y1, x2, y2 in boxes.tolist():
        mask[math.ceil(y1 * height) : math.ceil(y2 * height), math.floor(x1 * width) : math.floor(x2 * width)] = True
    return mask


def naive_loss(features, teacher_features, boxes, labels):
    """A loop over levels, images and places."""
    values = []
    for feature, teacher_feature in zip(features, teacher_features):
        for b in range(len(feature)):
            heads = boxes[b][[label in (0, 2) for label in labels[b].tolist()]]
            mask = naive_mask(heads, feature.shape[-2:])
            places = [(feature[b, :, i, j] - teacher_feature[b, :, i, j]).square().sum() for i, j in mask.nonzero()]
            values.append(sum(places) / (2 * len(places)) if places else 0.0)
    return sum(values) / len(values)


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(3, 5, *size, generator=generator, dtype=torch.float64) for size in SIZES]
    teacher = [torch.randn(3, 5, *size, generator=generator, dtype=torch.float64) for size in SIZES]
    boxes = [random_boxes(number, generator) for number in (4, 0, 2)]
    labels = [torch.tensor([0, 1, 2, 2]), torch.tensor([], dtype=torch.int64), torch.tensor([1, 1])]
    return features, teacher, boxes, labels


@pytest.mark.parametrize('seed', range(3))
def test_masks_are_the_unions_of_the_authors_slices(seed):
    boxes = random_boxes(12, torch.Generator().manual_seed(seed))
    image = torch.arange(12) % 3  # image 3 of 4 has none
    for size in SIZES:
        masks = box_masks(boxes, image, 4, size)
        for b in range(4):
            assert torch.equal(masks[b], naive_mask(boxes[image == b], size))


@pytest.mark.parametrize('seed', range(3))
def test_equals_a_loop_over_levels_images_and_places(seed):
    args = data(seed)
    loss = MaskedFeatureLoss(loss_weight=2.0, class_counts=COUNTS)(*args)
    torch.testing.assert_close(loss, 2 * torch.as_tensor(naive_loss(*args)), rtol=1e-12, atol=0)


def test_only_places_of_head_classes_learn():
    features, teacher, boxes, labels = data()
    features = [feature.requires_grad_() for feature in features]
    MaskedFeatureLoss(class_counts=COUNTS)(features, teacher, boxes, labels).backward()
    mask = naive_mask(boxes[0][[0, 2, 3]], SIZES[0])
    assert torch.equal(features[0].grad[0].ne(0).all(0), mask)
    assert not features[0].grad[1:].any()  # no box; boxes of the tail alone


def test_a_batch_without_head_classes_adds_zero_and_can_be_differentiated():
    feature = torch.randn(1, 2, 4, 4, requires_grad=True)
    args = [torch.zeros(1, 2, 4, 4)], [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)]
    loss = MaskedFeatureLoss(class_counts=COUNTS)([feature], *args)
    loss.backward()
    assert loss == 0 and not feature.grad.any()


def test_half_precision_is_computed_in_float32():
    features, teacher, boxes, labels = data()
    loss = MaskedFeatureLoss(class_counts=COUNTS)
    half = loss([f.bfloat16() for f in features], [f.bfloat16() for f in teacher], boxes, labels)
    expected = loss([f.bfloat16().float() for f in features], [f.bfloat16().float() for f in teacher], boxes, labels)
    assert half.dtype == torch.float32 and half == expected


def test_a_teacher_with_other_features_is_refused():
    features, teacher, boxes, labels = data()
    with pytest.raises(ValueError, match=r'features of shapes \[\(3, 5, 9, 13\)\] as in the teacher, but got'):
        MaskedFeatureLoss(class_counts=COUNTS)(features, teacher[:1], boxes, labels)

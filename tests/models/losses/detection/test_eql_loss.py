import pytest
import torch
import torch.nn.functional as F

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.models.losses.detection.eql_loss import EQLLoss, eql_loss

COUNTS = dict(instance_counts=[900, 60, 20, 0], image_counts=[500, 40, 10, 0], num_images=1000)  # f = .5, .04, .01, 0
SCORE = torch.tensor([[2.0, -1.0, 0.5, 3.0], [0.3, 0.2, -4.0, 1.0], [-2.0, 1.5, 0.0, -0.5], [4.0, 0.0, 2.0, -1.0]])
LABEL = torch.tensor([0, 2, 4, 3])  # the third is background


def loss(lambda_=0.03, **options):
    return EQLLoss(lambda_=lambda_, class_counts=COUNTS, **options)


def naive(score, label, is_tail):
    """The formula: binary cross entropy without the negatives of tail classes in rows of objects."""
    target = F.one_hot(label, score.size(1) + 1)[:, :-1].to(score)
    ignored = (label < score.size(1)).unsqueeze(1) & (torch.as_tensor(is_tail) == 1) & (target == 0)
    return F.binary_cross_entropy_with_logits(score, target, reduction='none').masked_fill(ignored, 0).sum(1)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('shape', [(1, 1), (4, 7), (64, 50)])
def test_formula(dtype, shape):
    generator = torch.Generator().manual_seed(0)
    score = 3 * torch.randn(shape, generator=generator, dtype=dtype)
    label = torch.randint(shape[1] + 1, shape[:1], generator=generator)
    is_tail = torch.rand(shape[1], generator=generator) < 0.5
    torch.testing.assert_close(eql_loss(score, label, is_tail), naive(score, label, is_tail))


def test_tail_ignores_objects_of_other_classes():
    score = SCORE.clone().requires_grad_()
    loss()(score, LABEL).backward()
    is_negative_of_tail = torch.zeros(4, 4, dtype=torch.bool)
    is_negative_of_tail[[0, 0, 1, 3], [2, 3, 3, 2]] = True
    assert ((score.grad == 0) == is_negative_of_tail).all()
    assert (score.grad[2] > 0).all()


def test_tail_classes():
    assert loss(lambda_=0.04).is_tail.tolist() == [0, 0, 1, 1]
    assert loss(lambda_=0.0401).is_tail.tolist() == [0, 1, 1, 1]
    assert loss(lambda_=1e-9).is_tail.tolist() == [0, 0, 0, 1]


def test_frequency_may_be_the_number_of_instances():
    assert loss(lambda_=61, by='instance_counts').is_tail.tolist() == [0, 1, 1, 1]


def test_avg_factor():
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0])
    expected = (naive(SCORE, LABEL, [0, 0, 1, 1]) * weight).sum() / 3
    torch.testing.assert_close(loss(loss_weight=2.0)(SCORE, LABEL, weight, avg_factor=3.0), 2 * expected)


def test_checkpoint_carries_the_tail():
    trained = EQLLoss(lambda_=0.03)
    trained.set_class_distribution(ClassDistribution(**COUNTS))
    fresh = EQLLoss(lambda_=0.03)
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh(SCORE, LABEL), trained(SCORE, LABEL))


def test_needs_the_class_distribution():
    with pytest.raises(RuntimeError, match='EQLLoss needs .*ClassDistributionHook'):
        EQLLoss(lambda_=0.03)(SCORE, LABEL)


@pytest.mark.parametrize('lambda_, below', [(0.9, '4 of 4'), (1e-4, '0 of 3')])
def test_warns_unless_there_are_tail_and_head_classes(lambda_, below):
    counts = COUNTS if below == '4 of 4' else [500, 300, 200]
    with pytest.warns(UserWarning, match=f'{below} classes are tail'):
        EQLLoss(lambda_=lambda_, class_counts=counts)


def test_shares_of_images_need_their_number(recwarn):
    with pytest.warns(UserWarning, match='EQLLoss needs the share .* does not say how many images there are'):
        EQLLoss(lambda_=0.1, class_counts=[500, 60, 20, 3])
    recwarn.clear()
    EQLLoss(lambda_=0.1, class_counts=COUNTS)
    EQLLoss(lambda_=60, by='instance_counts', class_counts=[500, 60, 20, 3])
    assert not recwarn.list


def test_counts_with_background():
    with pytest.raises(ClassDistributionError, match=r'expected .* to have 4 entries, but got 5.*Leave the background'):
        EQLLoss(lambda_=0.1, num_classes=4, class_counts=[5, 4, 3, 2, 100])


def test_counts_of_other_classes_than_the_head():
    new = EQLLoss(lambda_=0.1)
    new.get_cls_channels(3)
    with pytest.raises(ClassDistributionError, match='to have 3 entries, but got 4'):
        new.set_class_distribution(ClassDistribution([5, 4, 3, 100]))

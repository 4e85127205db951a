import math
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import Runner
from toy import toy_config
from toy_losses import train_features
from toy_training import stop_and_resume

from ltmm.models.losses import AREAReweighting
from ltmm.models.losses.classification.area_reweighting import area_weights, class_prototypes, effective_area
from ltmm.utils.errors import InputError

CROSS_ENTROPY = dict(type='mmpretrain.CrossEntropyLoss')
COUNTS = [30, 8, 0, 1, 2]


def area(epoch: int = 0, **kwargs) -> AREAReweighting:
    loss = AREAReweighting(**{'loss': CROSS_ENTROPY, 'start_epoch': 0, 'class_counts': COUNTS, **kwargs})
    loss.set_progress(epoch, 10)
    return loss


def naive_area(features: list, label: list, prototypes: list, batches: list[list[int]]) -> list[float]:
    """1 / (a R a) of every class in every mini-batch, with R the cosines between directions and a = 1 / m."""
    total = [0.0] * len(prototypes)
    for batch in batches:
        for c in {label[i] for i in batch}:
            offsets = [features[i] - prototypes[c] for i in batch if label[i] == c]
            lengths = [math.sqrt(sum(x * x for x in offset)) for offset in offsets]
            m = len(offsets)
            similarity = sum(
                sum(x * y for x, y in zip(offsets[i], offsets[j])).item() / (lengths[i] * lengths[j] or 1)
                for i in range(m)
                for j in range(m)
            )
            total[c] += 1.0 if m == 1 else m * m / similarity
    return total


@pytest.mark.parametrize('scope, size', [('batch', 7), ('batch', 100), ('dataset', 41)])
def test_area_of_mini_batches(scope, size):
    outputs, others = train_features(COUNTS), train_features(COUNTS, seed=1)
    prototypes = [outputs.features[outputs.label == c].double().sum(0) / max(n, 1) for c, n in enumerate(COUNTS)]
    order = torch.randperm(41, generator=torch.Generator().manual_seed(3)).tolist()
    batches = [order[i : i + size] for i in range(0, 41, size)]
    expected = naive_area([*others.features.double()], others.label.tolist(), prototypes, batches)
    expected = torch.tensor([1 / a if a else 0.0 for a in expected], dtype=torch.float64)
    loss = area(epoch=3, scope=scope, batch_size=size if scope == 'batch' else 64)
    loss.on_train_features(outputs, others)
    torch.testing.assert_close(loss.class_weight, 5 * expected / expected.sum())
    assert loss.class_weight[2] == 0 and loss.class_weight.isfinite().all()


def test_many_chunks_equal_one(monkeypatch):
    whole, parts = area(batch_size=4), area(batch_size=4)
    whole.on_train_features(train_features(COUNTS))
    monkeypatch.setattr('ltmm.models.losses.classification.area_reweighting.CHUNK', 9)
    parts.on_train_features(train_features(COUNTS))
    torch.testing.assert_close(parts.class_weight, whole.class_weight)


def test_redundant_images_count_once():
    prototypes, label = torch.zeros(2, 3), torch.tensor([0, 0, 0, 1, 1, 1])
    features = torch.cat([torch.tensor([[1.0, 2, 0]]).repeat(3, 1), torch.eye(3)])  # one direction, three directions
    found = effective_area(features, label, prototypes, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(found, torch.tensor([1.0, 3.0]))


def test_images_at_or_around_the_prototype():
    """Opposite directions have the largest area, an image that is its prototype and a single one have area 1."""
    features, label = torch.tensor([[1.0, 0], [-1, 0], [3, 3], [5, 5], [5, 5]]), torch.tensor([0, 0, 1, 2, 2])
    prototypes = class_prototypes(features, label, torch.tensor([2, 1, 2, 0]))
    assert prototypes.tolist() == [[0, 0], [3, 3], [5, 5], [0, 0]]
    found = effective_area(features, label, prototypes, torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(found, torch.tensor([1e12, 1, 1e12, 0], dtype=torch.float64))
    weights = area_weights(found)
    torch.testing.assert_close(weights, torch.tensor([0, 4.0, 0, 0], dtype=torch.float64), atol=1e-10, rtol=0)


def test_prototypes_divide_by_the_class_counts():
    features, label = torch.ones(3, 2), torch.tensor([0, 0, 1])
    assert class_prototypes(features, label, torch.tensor([4, 1])).tolist() == [[0.5, 0.5], [1, 1]]


def test_plain_loss_then_weighted_mean():
    score, label = torch.randn(6, 5), torch.tensor([0, 1, 3, 0, 4, 0])
    loss = area(start_epoch=2, epoch=1)
    torch.testing.assert_close(loss(score, label), F.cross_entropy(score, label))
    loss.set_progress(2, 10)
    loss.on_train_features(train_features(COUNTS))
    weighted = F.cross_entropy(score, label, weight=loss.class_weight.float())
    torch.testing.assert_close(loss(score, label), weighted)
    assert [epoch for epoch in range(4) if loss.needs_train_features(epoch)] == [2, 3]


@pytest.mark.parametrize('settings', [dict(beta=0.9), dict(power=0.5)], ids=str)
def test_settings_of_weights_by_counts_are_refused(settings):
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        area(**settings)


def test_weights_without_features_are_refused():
    with pytest.raises(RuntimeError, match='AREAReweighting needs the features .*ltmm.TrainFeaturesHook'):
        area()(torch.randn(2, 5), torch.tensor([0, 1]))


@pytest.mark.parametrize('kwargs', [dict(scope='class'), dict(batch_size=0), dict(start_epoch=-1)])
def test_bad_arguments(kwargs):
    with pytest.raises(InputError, match=f'`{next(iter(kwargs))}`'):
        area(**kwargs)


def test_state_dict_carries_the_weights():
    loss, fresh = area(), area()
    assert fresh.load_state_dict(loss.state_dict())  # before the first features
    loss.on_train_features(train_features(COUNTS))
    fresh.load_state_dict(loss.state_dict())
    assert torch.equal(fresh.class_weight, loss.class_weight) and len(fresh.class_weight) == 5


def test_weights_of_all_ranks_agree():
    """The order of the images depends on the seed of the training and the epoch, not on the generators of a rank."""
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        loss = area(batch_size=4)
        loss.on_train_features(train_features(COUNTS))
        weights.append(loss.class_weight)
    assert torch.equal(*weights)
    for epoch, seed in ((1, 0), (0, 7)):
        other = area(batch_size=4, epoch=epoch)
        other.on_train_features(replace(train_features(COUNTS), seed=seed))
        assert not torch.equal(other.class_weight, weights[0])


@pytest.mark.slow
def test_resume_after_the_start(tmp_path):
    def config(name, **options):
        cfg = toy_config(tmp_path / name, **options)
        loss = dict(_delete_=True, type='ltmm.AREAReweighting', loss=CROSS_ENTROPY, start_epoch=1, batch_size=8)
        cfg.merge_from_dict(dict(model=dict(head=dict(loss=loss))))
        return cfg

    Runner.from_cfg(config('straight')).train()
    stop_and_resume(partial(config, 'stopped'), at_iter=18)  # in the third of four epochs
    ends = [torch.load(tmp_path / name / 'epoch_4.pth', weights_only=True) for name in ('straight', 'stopped')]
    torch.testing.assert_close(ends[1]['state_dict'], ends[0]['state_dict'], rtol=0, atol=0)
    assert len(ends[0]['state_dict']['head.loss_module.class_weight']) == 3

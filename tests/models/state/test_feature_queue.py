from collections import deque

import pytest
import torch

from ltmm.models.state import FeatureQueue


@pytest.mark.parametrize('batch_sizes', [(3, 2, 4, 1), (5, 5), (12, 1), (7, 0, 13)])
def test_holds_the_last_features_in_order(batch_sizes):
    queue, expected = FeatureQueue(5, 2), deque(maxlen=5)
    for n in batch_sizes:
        features, labels = torch.randn(n, 2), torch.randint(9, (n,))
        queue.update(features, labels)
        expected.extend(zip(features.tolist(), labels.tolist()))
        assert queue.num_filled == len(expected)
    order = torch.arange(5).add(queue.cursor) % 5  # the oldest first
    held = zip(queue.features[order].tolist(), queue.labels[order].tolist(), queue.filled[order])
    assert [(f, y) for f, y, filled in held if filled] == list(expected)
    assert (queue.labels[~queue.filled] == -1).all()


def test_features_without_labels():
    queue = FeatureQueue(3, 1)
    queue.update(torch.ones(2, 1))
    assert queue.filled.tolist() == [True, True, False] and queue.labels.tolist() == [-1, -1, -1]
    queue.update(torch.ones(2, 1), torch.tensor([4, 5]))
    assert queue.filled.all() and queue.labels.tolist() == [5, -1, 4]


def test_sub_labels_stay_with_their_features():
    queue = FeatureQueue(3, 1, with_sub_labels=True)
    queue.update(torch.arange(4.0).unsqueeze(1), torch.arange(4), torch.arange(4) + 10)
    assert (queue.features.flatten() == queue.labels).all() and (queue.sub_labels == queue.labels + 10).all()


def test_a_loss_on_the_queue_goes_backward_after_the_update():
    queue = FeatureQueue(4, 2)
    queue.update(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))
    query = torch.ones(1, 2, requires_grad=True)
    loss = (query @ queue.features.T).sum()
    queue.update(query, torch.tensor([1]))
    loss.backward()
    assert query.grad.tolist() == [[4, 4]]
    assert not queue.features.requires_grad


@pytest.mark.parametrize('num_rows', [0, 2, 5, 7])
def test_update_returns_the_slots_of_the_rows(num_rows):
    queue, features = FeatureQueue(5, 2), torch.randn(num_rows, 2)
    queue.update(torch.randn(4, 2))
    slots = queue.update(features)
    lost = max(num_rows - 5, 0)
    assert slots[:lost].tolist() == [-1] * lost
    assert torch.equal(queue.features[slots[lost:]], features[lost:])
    assert queue.eval().update(features).tolist() == [-1] * num_rows

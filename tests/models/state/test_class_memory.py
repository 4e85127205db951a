import torch

from ltmm.models.state.class_memory import ClassMemory, MeanScores, draw_classes

C, K, D = 4, 3, 2


def test_memory_keeps_the_last_features_of_each_class():
    memory, expected = ClassMemory(C, K, D), [[] for _ in range(C)]
    generator = torch.Generator().manual_seed(0)
    for num in (5, 0, 20, 1, 7):
        features = torch.randn(num, D, generator=generator)
        labels = torch.randint(C - 1, (num,), generator=generator)
        memory.update(features, labels)
        for feature, label in zip(features.tolist(), labels.tolist()):
            expected[label].append(feature)
    assert memory.counts.tolist() == [len(rows) for rows in expected]
    for label, rows in enumerate(expected):
        kept = memory.features[label, : min(len(rows), K)].tolist()
        torch.testing.assert_close(torch.tensor(sorted(kept)), torch.tensor(sorted(rows[-K:])))


def test_draw_is_of_the_right_class_and_without_replacement():
    memory = ClassMemory(C, K, D)
    labels = torch.tensor([0, 0, 0, 0, 1, 3, 3])
    memory.update(torch.stack([labels, torch.arange(7)], 1).float(), labels)
    for _ in range(5):
        features, drawn = memory.draw(torch.ones(C), num_classes=C, num_features=2)
        assert sorted(drawn.tolist()) == [0, 0, 1, 3, 3]  # class 2 has none, class 1 only one
        assert features[:, 0].long().tolist() == drawn.tolist() and len(features[:, 1].unique()) == 5
        assert 0 not in features[:, 1]  # the oldest of four
    features, drawn = memory.draw(torch.ones(C), num_classes=1, num_features=9)
    assert len(drawn.unique()) == 1 and drawn[0] != 2


def test_nothing_is_drawn_from_an_empty_memory():
    features, labels = ClassMemory(C, K, D).draw(torch.ones(C), 2, 2)
    assert features.shape == (0, D) and labels.shape == (0,)


def test_classes_are_drawn_in_proportion_to_the_weight():
    torch.manual_seed(0)
    draws = torch.stack([draw_classes(torch.tensor([1.0, 3.0, 0.0, 6.0]), 1) for _ in range(2000)])
    share = draws.flatten().bincount(minlength=C) / 2000
    torch.testing.assert_close(share, torch.tensor([0.1, 0.3, 0.0, 0.6]), atol=0.04, rtol=0)


def test_mean_scores_average_the_rows_of_an_object_first():
    state = MeanScores(C, momentum=0.1)
    state.update(torch.tensor([0.8, 0.4, 0.3, 0.5]), torch.tensor([1, 1, 1, 2]), torch.tensor([7, 7, 0, -3]))
    expected = [0.01, 0.81 * 0.01 + 0.19 * (0.6 + 0.3) / 2, 0.9 * 0.01 + 0.1 * 0.5, 0.01]
    torch.testing.assert_close(state.values, torch.tensor(expected))


def test_half_shares_of_two_ranks_are_one_object():
    state = MeanScores(C)
    state.update(torch.tensor([0.6, 0.6]), torch.tensor([0, 0]), torch.tensor([4, 5]), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(state.values[0], torch.tensor(0.9 * 0.01 + 0.1 * 0.6))


def test_mean_scores_stay_above_zero():
    state = MeanScores(C, momentum=1.0)
    state.update(torch.zeros(2), torch.tensor([0, 1]), torch.arange(2))
    assert (state.values > 0).all() and state.values.log().isfinite().all()

import torch

from ltmm.models.state import Prototypes, class_statistics

LABELS = torch.tensor([0, 2, 2, 0, 0, 2])


def test_class_statistics_equal_those_of_each_class_alone():
    features = torch.randn(6, 3)
    counts, means, variances = class_statistics(features, LABELS, 3)
    assert counts.tolist() == [3, 0, 3]
    for label in (0, 2):
        of_class = features[LABELS == label].double()
        torch.testing.assert_close(means[label], of_class.mean(0))
        torch.testing.assert_close(variances[label], of_class.var(0, correction=0))
    assert not means[1].any() and not variances[1].any()


def test_without_momentum_it_is_the_mean_of_all_batches():
    features = torch.randn(6, 3)
    batched, fitted = (Prototypes(3, 3, with_variances=True) for _ in range(2))
    for rows in ([0, 1], [2, 3, 4], [5]):
        batched.update(features[rows], LABELS[rows])
    fitted.update(torch.ones(1, 3), torch.tensor([1]))  # forgotten by fit
    fitted.eval().fit(features, LABELS)
    torch.testing.assert_close(batched.state_dict(), fitted.state_dict())
    torch.testing.assert_close(fitted.means, class_statistics(features, LABELS, 3)[1].float())


def test_momentum_is_the_weight_of_the_batch_and_the_first_batch_counts_fully():
    prototypes = Prototypes(3, 1, momentum=0.25, with_variances=True)
    prototypes.update(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]))
    assert prototypes.means.tolist() == [[2], [0], [0]] and prototypes.variances.tolist() == [[1], [0], [0]]
    prototypes.update(torch.tensor([[6.0], [8.0]]), torch.tensor([0, 2]))
    assert prototypes.means.tolist() == [[0.75 * 2 + 0.25 * 6], [0], [8]]
    assert prototypes.variances[0] == 0.75 * 1 + 0.75 * 0.25 * 4**2  # of three quarters old, one quarter new
    assert prototypes.counts.tolist() == [3, 0, 1]

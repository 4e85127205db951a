import torch

from ltmm.models.post_process import TemperatureScaling


def test_changes_confidence_but_no_prediction(head, features):
    score = head.fc(features)
    scaled = TemperatureScaling(2.0)(score, None, head)
    torch.testing.assert_close(scaled, score / 2)
    assert torch.equal(scaled.argsort(1), score.argsort(1))
    assert (scaled.softmax(1).max(1).values < score.softmax(1).max(1).values).all()

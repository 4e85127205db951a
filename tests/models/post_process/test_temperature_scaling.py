import pytest
import torch

from ltmm.models.heads import LongTailClsHead
from ltmm.models.post_process import TemperatureScaling


def test_it_changes_how_sure_the_model_is_and_no_prediction(head, features):
    score = head.fc(features)
    scaled = TemperatureScaling(2.0)(score, None, head)
    torch.testing.assert_close(scaled, score / 2)
    assert torch.equal(scaled.argsort(1), score.argsort(1))
    assert (scaled.softmax(1).max(1).values < score.softmax(1).max(1).values).all()


@pytest.mark.parametrize('bias', [True, False])
def test_folded_it_gives_the_same_logits(features, bias):
    head = LongTailClsHead(4, 6, classifier=dict(type='ltmm.Linear', bias=bias))
    step = TemperatureScaling(0.5)
    expected = step(head.fc(features), None, head)
    assert step.write(head)
    torch.testing.assert_close(head.fc(features), expected)


def test_a_cosine_classifier_cannot_take_it_up():
    assert not TemperatureScaling(2.0).write(LongTailClsHead(4, 6, classifier=dict(type='ltmm.NormedLinear')))


@pytest.mark.parametrize('temperature', [0, -1, float('nan'), float('inf')])
def test_a_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(ValueError, match=f'Expected `temperature` to be > 0, but got {temperature}'):
        TemperatureScaling(temperature)

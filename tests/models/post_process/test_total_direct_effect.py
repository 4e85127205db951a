import pytest
import torch

from ltmm.models.heads import LongTailClsHead
from ltmm.models.post_process import TotalDirectEffect


def causal_head(alpha: float, mode: str = 'tde') -> LongTailClsHead:
    torch.manual_seed(0)
    head = LongTailClsHead(4, 6, classifier=dict(type='ltmm.CausalCosine', mode=mode, num_heads=2, alpha=alpha))
    head.fc.with_moved(torch.rand(8, 6))
    return head.eval()


@pytest.mark.parametrize('alpha', [0.0, 0.7, 3.0])
def test_equals_a_layer_of_this_strength(alpha, features):
    head, other = causal_head(1.0), causal_head(alpha)
    step = TotalDirectEffect(alpha)
    step.check(head)
    torch.testing.assert_close(step(head.fc(features), features, head), other.fc(features))
    assert not step.write(head)  # alpha is in the config


def test_other_heads_are_refused(head):
    for other in (head, causal_head(1.0, mode='head')):
        with pytest.raises(TypeError, match=r"TotalDirectEffect needs .*mode='tde'"):
            TotalDirectEffect().check(other)

import torch

from ltmm.models.layers import AdditiveAttention


def test_formula():
    torch.manual_seed(0)
    layer = AdditiveAttention(4, 6).eval()
    query, keys = torch.randn(3, 4), torch.randn(3, 2, 4)
    rows = []
    for q, k in zip(query, keys):
        energy = torch.stack([layer.score.weight[0] @ torch.tanh(layer.query(q) + layer.key(v)) for v in k])
        weight = energy.exp() / energy.exp().sum()
        rows.append(weight[0] * k[0] + weight[1] * k[1])
    torch.testing.assert_close(layer(query, keys), torch.stack(rows))


def test_dropout():
    layer = AdditiveAttention(4, 6, dropout=1.0)
    query, keys = torch.randn(3, 4), torch.randn(3, 2, 4)
    assert (layer(query, keys) == 0).all()
    assert (layer.eval()(query, keys) != 0).all()

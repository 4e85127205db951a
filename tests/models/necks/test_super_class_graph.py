import pytest
import torch
from torch import nn

from ltmm.models.necks.super_class_graph import edge_weights, joined_adjacency, link_weights, pass_messages
from ltmm.models.state.train_features import TrainFeatures
from ltmm.registry import MODELS

WIDTH = 5


def build(num_super_classes=(4, 3), trained=True, **options):
    torch.manual_seed(0)
    cfg = dict(type='ltmm.SuperClassGraph', in_channels=WIDTH, num_super_classes=num_super_classes, **options)
    graph = MODELS.build(cfg).double()
    if trained:
        for level in graph.levels:
            nn.init.normal_(level.out.weight)
    return graph


def features(num=6):
    return torch.randn(num, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def naive(graph, image):
    """The formulas for one image, vertex by vertex."""
    z = image
    for level in graph.levels:
        h, num = level.vertices, len(level.vertices)
        w, b = level.edge.weight[0], level.edge.bias[0]
        adjacency = torch.ones(num + 1, num + 1, dtype=torch.float64)
        scores = torch.stack([-(((z - h[k]) / level.link_scale) ** 2).sum() / 2 for k in range(num)])
        for k in range(num):
            for m in range(num):
                adjacency[k, m] = torch.sigmoid((w * ((h[k] - h[m]) / level.edge_scale).abs()).sum() + b)
            adjacency[k, num] = adjacency[num, k] = scores.exp()[k] / scores.exp().sum()
        state = [*h, z]
        for layer in level.layers:
            rows = [
                sum(adjacency[i, j] / adjacency[i].sum() * state[j] for j in range(num + 1)) for i in range(num + 1)
            ]
            state = [(layer.weight @ row).relu() for row in rows]
        z = z + level.out.weight @ state[-1]
    return z


def test_equals_the_formulas():
    graph, z = build(), features()
    (out,) = graph((z,))
    torch.testing.assert_close(out, torch.stack([naive(graph, image) for image in z]))
    assert (out - z).abs().min(1).values.gt(0).any()


def test_gradients():
    graph, z = build((3,)), features(2).requires_grad_()
    parameters = [*graph.parameters()]
    assert torch.autograd.gradcheck(lambda x, *p: graph((x,)), (z, *parameters))
    graph((z,))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)


def test_starts_as_the_identity():
    graph, z = build(trained=False), features()
    assert torch.equal(graph((z,))[0], z)
    assert torch.equal(graph.refine_prototypes(z), z)
    graph((z,))[0].square().sum().backward()
    assert all(level.out.weight.grad.abs().sum() > 0 for level in graph.levels)  # and can leave it


def test_images_do_not_see_one_another_and_prototypes_do():
    graph, z = build(), features()
    torch.testing.assert_close(graph((z[:2],))[0], graph((z,))[0][:2])
    assert not torch.allclose(graph.refine_prototypes(z[:2]), graph.refine_prototypes(z)[:2])


def test_order_does_not_matter():
    graph, z = build(), features()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    expected, prototypes = graph((z,))[0], graph.refine_prototypes(z)
    torch.testing.assert_close(graph.refine_prototypes(z[order]), prototypes[order])
    with torch.no_grad():
        graph.levels[0].vertices.copy_(graph.levels[0].vertices[[2, 3, 1, 0]])
    torch.testing.assert_close(graph((z,))[0], expected)


def test_adjacency():
    graph, z = build(), features()
    level = graph.levels[0]
    edges = edge_weights(level.vertices, level.edge, level.edge_scale)
    assert torch.equal(edges, edges.T)
    links = link_weights(z, level.vertices, level.link_scale)
    torch.testing.assert_close(links.sum(1), torch.ones(6).double())
    adjacency = joined_adjacency(edges, links, torch.eye(6).double())
    torch.testing.assert_close(adjacency.sum(1), torch.ones(10).double())
    assert pass_messages(torch.cat([level.vertices, z]), adjacency, level.layers).shape == (10, WIDTH)


def test_far_features_and_low_precision():
    graph = build().float()
    far = features().float() * 1e6
    assert graph((far,))[0].isfinite().all()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert graph((features().float(),))[0].isfinite().all()


def test_starts_at_the_centers_of_the_features():
    graph = build((3,), trained=False).float()
    centers = 10 * torch.eye(3, WIDTH)
    rows = centers.repeat_interleave(20, dim=0) + 0.1 * torch.randn(
        60, WIDTH, generator=torch.Generator().manual_seed(2)
    )
    assert graph.needs_train_features(0) and not graph.needs_train_features(1)
    graph.on_train_features(TrainFeatures(rows, None, torch.zeros(60).long(), torch.arange(60)))
    nearest = torch.cdist(centers, graph.levels[0].vertices).min(1)
    assert nearest.values.max() < 0.2 and len(set(nearest.indices.tolist())) == 3
    rms = torch.cdist(rows, graph.levels[0].vertices).min(1).values.square().mean().sqrt()
    torch.testing.assert_close(graph.levels[0].link_scale.detach(), rms)


@pytest.mark.filterwarnings('ignore:Number of distinct clusters')
def test_fewer_distinct_features_than_super_classes():
    graph, rows = build().float(), torch.eye(2, WIDTH)[torch.arange(60) % 2]
    graph.on_train_features(TrainFeatures(rows, None, torch.zeros(60).long(), torch.arange(60)))
    assert all(p.isfinite().all() for p in graph.parameters())
    assert graph((rows,))[0].isfinite().all()


def test_bad_input():
    with pytest.raises(ValueError, match='`num_super_classes` to be integers >= 1'):
        build((4, 0))
    with pytest.raises(ValueError, match='`num_layers`'):
        build(num_layers=0)
    with pytest.raises(ValueError, match='GlobalAveragePooling'):
        build()((torch.zeros(2, WIDTH, 4, 4),))
    with pytest.raises(ValueError, match='4 super-classes need as many images, but there are 3'):
        rows = features(3).float()
        build().on_train_features(TrainFeatures(rows, None, torch.zeros(3).long(), torch.arange(3)))

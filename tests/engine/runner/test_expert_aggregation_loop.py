import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn
from toy import toy_config

from ltmm.engine.runner import ExpertAggregationLoop
from ltmm.engine.runner.expert_aggregation_loop import AggregationLearner, view_similarity
from ltmm.models.heads import MeanAggregation
from ltmm.registry import MODELS

VIEWS = [
    dict(type='MultiView', num_views=[2], transforms=[[dict(type='RandomFlip', prob=0.5)]]),
    dict(type='PackInputs'),
]


@MODELS.register_module()
class StableAndUnstable(nn.Module):
    """Two experts: the first sees the mean colour, which flipping leaves alone, the second half of the image."""

    def forward(self, x):
        stable = x.mean((2, 3))
        return (torch.stack([stable, 5 * (x[..., :4] - x[..., 4:]).mean((2, 3))]),)


def test_view_similarity():
    first, second, weights = torch.randn(2, 4, 3), torch.randn(2, 4, 3), torch.tensor([0.2, 0.8])
    p, q = (sum(w * z for w, z in zip(weights, view)).softmax(1) for view in (first, second))
    expected = F.cosine_similarity(p, q, dim=1).mean()
    torch.testing.assert_close(view_similarity(first, second, weights), expected)
    assert view_similarity(first, first, weights).item() == pytest.approx(1)


def test_stable_expert_gains_weight():
    learner = AggregationLearner(2, lr=0.5, weight_decay=0)
    stable = 3 * torch.randn(1, 32, 5)
    torch.testing.assert_close(learner.weights.tolist(), [0.5, 0.5])
    for _ in range(20):
        learner.step(*(torch.cat([stable, 3 * torch.randn(1, 32, 5)]) for _ in range(2)))
    assert learner.weights[0] > 0.6 and learner.weights.sum().item() == pytest.approx(1)


def config(tmp_path, **loop) -> Config:
    cfg = toy_config(tmp_path)
    cfg.model.backbone = dict(type='ltmm.StableAndUnstable')
    cfg.model.head = dict(
        type='ltmm.MultiExpertClsHead',
        num_classes=3,
        in_channels=3,
        num_experts=2,
        loss=dict(type='ltmm.BalPoELoss', taus=(0, 1)),
        init_cfg=dict(type='Normal', layer='Linear', std=1.0),
    )
    cfg.test_cfg = dict(
        type='ltmm.ExpertAggregationLoop', pipeline=VIEWS, lr=0.3, weight_decay=5e-4, batch_size=16, **loop
    )
    cfg.randomness.seed = 0
    return cfg


def run_of(cfg) -> tuple[Runner, list]:
    """The runner after a test, and the logits of the test."""
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    outputs = []
    runner.model.head.register_forward_hook(lambda head, args, out: outputs.append((head.expert_logits(args[0]), out)))
    runner.test()
    return runner, outputs


def test_weights_are_used_in_the_test_only(tmp_path):
    runner, outputs = run_of(config(tmp_path))
    assert isinstance(runner.test_loop, ExpertAggregationLoop)
    assert len(outputs) == 8  # batches of the test, in which alone the head predicts
    experts, logits = (torch.cat(parts, -2) for parts in zip(*outputs))
    difference = experts[0] - experts[1]
    weight = ((logits - experts[1]) * difference).sum() / difference.square().sum()
    torch.testing.assert_close(logits, weight * experts[0] + (1 - weight) * experts[1], rtol=1e-3, atol=1e-3)
    assert weight > 0.55  # of the expert that flipping leaves alone
    assert isinstance(runner.model.head.aggregation, MeanAggregation)
    assert 'Expert weights after epoch 5' in next(tmp_path.rglob('*.log')).read_text()


def test_same_weights_every_time(tmp_path):
    first, second = (run_of(config(tmp_path / name))[1] for name in 'ab')
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_stops_below_a_weight(tmp_path):
    run_of(config(tmp_path, stop_below=0.99))
    log = next(tmp_path.rglob('*.log')).read_text()
    assert 'after epoch 1' in log and 'after epoch 2' not in log


def test_pipeline_of_one_view_is_refused(tmp_path):
    cfg = config(tmp_path)
    cfg.test_cfg.pipeline = VIEWS[1:]
    with pytest.raises(ValueError, match="pipeline of two views: .*'MultiView', num_views=\\[2\\]"):
        run_of(cfg)


def test_model_without_experts_is_refused(tmp_path):
    cfg = config(tmp_path)
    plain = toy_config(tmp_path)
    plain.test_cfg = cfg.test_cfg
    with pytest.raises(TypeError, match='MultiExpertClsHead.*but got LongTailClsHead'):
        Runner.from_cfg(plain).test()
    cfg.model.head.aggregation = dict(type='ltmm.EvidentialAggregation')
    with pytest.raises(TypeError, match='but got MultiExpertClsHead with EvidentialAggregation'):
        Runner.from_cfg(cfg).test()

"""The code of the docs runs as it stands."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from toy import ToyImages
from toy_docs import Page, registries_restored

from ltmm import ClassDistribution
from ltmm.models.losses import LossInputs
from ltmm.registry import DATA_SAMPLERS, MODELS, STAGES

COUNTS = [500, 60, 3]
SCORE, LABEL = torch.randn(4, 3), torch.tensor([0, 1, 2, 2])


@pytest.fixture
def run() -> Iterator[Callable]:
    """Execute the snippets under a heading of docs/extend.md; remove what they register afterwards."""
    with registries_restored():
        yield Page('docs/extend.md').run


def test_loss(run: Callable):
    run('A loss')
    loss = MODELS.build(dict(type='ltmm.InverseFrequencyLoss', class_counts=COUNTS))
    weight = torch.tensor(ClassDistribution(COUNTS).weights('inverse')).float()
    losses = F.cross_entropy(SCORE, LABEL, reduction='none') * weight[LABEL]
    torch.testing.assert_close(loss(SCORE, LABEL), losses.mean())


def test_objectives(run: Callable):
    run('An objective')
    features = torch.randn(4, 5)
    loss = MODELS.build(dict(type='ltmm.FeatureNormLoss', norm=2.0))
    expected = (features.norm(dim=1) - 2).square().mean()
    torch.testing.assert_close(loss(LossInputs(LABEL, features=features))['loss_norm'], expected)
    logits = torch.randn(2, 4, 3)
    loss = MODELS.build(dict(type='ltmm.PriorForAllLoss', class_counts=COUNTS))
    balanced = MODELS.build(dict(type='ltmm.BalancedSoftmaxLoss', class_counts=COUNTS))
    expected = (balanced(logits[0], LABEL) + balanced(logits[1], LABEL)) / 2
    torch.testing.assert_close(loss(LossInputs(LABEL, expert_logits=logits))['loss'], expected)


def test_state(run: Callable):
    run('State')
    loss = MODELS.build(dict(type='ltmm.CenterLoss', num_classes=3, feat_dim=5, warmup_epochs=1))
    inputs = LossInputs(LABEL, features=torch.randn(4, 5))
    for epoch in range(2):
        loss.set_progress(epoch, 2, epoch, 2)
        assert (loss(inputs)['loss_center'] > 0) == (epoch == 1)


def test_sampler(run: Callable):
    run('A sampler')
    sampler = DATA_SAMPLERS.build(dict(type='ltmm.TailOnlySampler', dataset=ToyImages(counts=COUNTS), seed=0))
    assert set(sampler) == {560, 561, 562}


def test_stage(run: Callable, tmp_path):
    run('A stage')
    torch.save(dict(state_dict=dict(weight=torch.tensor([0.12345]))), tmp_path / 'last.pth')
    stage = STAGES.get('RoundStage')(cfg=Config(), folder=tmp_path, name='round', decimals=2)
    stage.run(tmp_path / 'last.pth')
    assert stage.is_complete
    torch.testing.assert_close(torch.load(stage.result)['state_dict']['weight'], torch.tensor([0.12]))


def test_correction(run: Callable):
    run('A correction')
    step = MODELS.build(dict(type='ltmm.PowerScaling', power=2.0))
    scores = step(SCORE, None, None).softmax(1)
    torch.testing.assert_close(scores, F.normalize(SCORE.softmax(1) ** 2, p=1, dim=1))

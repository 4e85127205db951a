import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

from ltmm.models.classifiers import EarlyExitClassifier
from ltmm.models.post_process import LogitAdjustment
from ltmm.registry import MODELS
from ltmm.utils.errors import InputTypeError

BACKBONE = dict(type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(4, 6, 8), num_experts=3)


def build(threshold: float = 0.5, **backbone) -> EarlyExitClassifier:
    torch.manual_seed(0)
    head = dict(
        type='ltmm.ExpertRoutingHead',
        num_classes=4,
        in_channels=8,
        num_experts=3,
        classifier=dict(type='ltmm.NormedLinear', scale=5.0),
        loss=dict(type='ltmm.ExpertRoutingLoss'),
    )
    cfg = dict(type='ltmm.EarlyExitClassifier', backbone=BACKBONE | backbone, head=head, threshold=threshold)
    return MODELS.build(cfg).eval()


@pytest.fixture
def images():
    return torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def median_threshold(model: EarlyExitClassifier, images: torch.Tensor) -> float:
    """Threshold that sends half of the images to the second expert."""
    return model.head.router_logits(model.extract_feat(images)).sigmoid()[0].median().item()


def test_router(images):
    model = build()
    router, feats = model.head.router, model.extract_feat(images)
    logits, scores = model.head.expert_logits(feats), model.head.router_logits(feats)
    for e in range(2):
        mean = logits[: e + 1].mean(0)
        hidden = router.projections[e](feats[0][e] / feats[0][e].norm(dim=1, keepdim=True)).relu()
        inputs = torch.cat([mean.sort(dim=1, descending=True).values, hidden], dim=1)  # 4 classes: fewer than 5
        torch.testing.assert_close(scores[e], router.fc(inputs).squeeze(1))


@torch.no_grad()
def test_each_image_leaves_when_the_router_says_so(images):
    model = build()
    model.threshold = median_threshold(model, images)
    feats = model.extract_feat(images)
    logits, scores = model.head.expert_logits(feats), model.head.router_logits(feats).sigmoid()
    predictions = model.predict(images, [DataSample() for _ in images])
    used = []
    for i, sample in enumerate(predictions):
        stays = [e for e in range(2) if scores[e, i] <= model.threshold]
        used.append(stays[0] + 1 if stays else 3)
        torch.testing.assert_close(sample.pred_score, logits[: used[i], i].mean(0).softmax(0))
        assert sample.num_experts == used[i]
    assert len({*used}) > 1


@torch.no_grad()
@pytest.mark.parametrize('threshold, num_experts', [(0.0, 3), (1.0, 1)])
def test_extreme_thresholds(threshold, num_experts, images):
    model = build(threshold)
    logits = model.head.expert_logits(model.extract_feat(images))[:num_experts].mean(0)
    for sample, expected in zip(model.predict(images), logits.softmax(1)):
        torch.testing.assert_close(sample.pred_score, expected)
        assert sample.num_experts == num_experts


@torch.no_grad()
def test_experts_run_only_on_the_images_that_go_on(images):
    model, rows = build(), []
    model.threshold = median_threshold(model, images)
    model.flops_of_exits(images[:1])  # runs all experts, once
    for expert in model.backbone.layer2.experts:
        expert.register_forward_hook(lambda module, args, output: rows.append(len(args[0])))
    _, num_experts = model.route(images)
    assert rows == [int((num_experts > e).sum()) for e in range(len(rows))]
    assert rows[0] == 12 and 0 < rows[1] < 12


@torch.no_grad()
def test_flops(images):
    """Against the sizes of all convolutions and linear layers; the products of NormedLinear have no module."""
    model, counts = build(), {}

    def count(module, args, output):
        if isinstance(module, nn.Conv2d):
            counts[module] = output[0].numel() * module.weight[0].numel()
        else:
            counts[module] = module.weight.numel()

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    model.route(images[:1], last=2)

    def total(part: nn.Module) -> int:
        return sum(counts[module] for module in part.modules() if module in counts)

    backbone, router = model.backbone, model.head.router
    expected, flops = total(backbone.conv1) + total(backbone.layer1), []
    for e in range(3):
        expected += total(backbone.layer2.experts[e]) + total(backbone.layer3.experts[e]) + 8 * 4
        expected += total(router.projections[e]) + total(router.fc) if e < 2 else 0
        flops.append(expected)
    assert model.flops_of_exits(images[:1]) == flops
    model.threshold = median_threshold(model, images)
    for sample in model.predict(images):
        assert (sample.flops, sample.max_flops) == (flops[sample.num_experts - 1], flops[2])


def test_router_learns_from_frozen_experts(images):
    model = build()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith('head.router'))
    samples = [DataSample().set_gt_label(i % 4) for i in range(12)]
    optimizer = torch.optim.SGD(model.head.router.parameters(), lr=0.5)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        (loss,) = model.loss(images, samples).values()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None for p in model.head.router.parameters())


@pytest.mark.parametrize('backbone', [dict(shortcut='concat'), dict(type='ltmm.SHIKEResNetCIFAR', channels=(4, 8, 16))])
def test_experts_that_cannot_run_alone(backbone):
    with pytest.raises(InputTypeError, match='experts run one by one'):
        build(**backbone)


@pytest.mark.parametrize('threshold', [-0.1, 1.1, float('nan')])
def test_bad_threshold(threshold):
    with pytest.raises(ValueError, match='Expected `threshold` to be in'):
        build(threshold)


@pytest.mark.parametrize('num_experts', [2, 4])
def test_another_number_of_experts(num_experts):
    with pytest.raises(ValueError, match=f'the backbone has {num_experts} experts, but the head has 3'):
        build(num_experts=num_experts)


def test_correction_that_it_would_ignore(images):
    model = build()
    LogitAdjustment(class_counts=[9, 5, 2, 1]).attach(model.head)
    with pytest.raises(InputTypeError, match='EarlyExitClassifier does not call its head'):
        model.predict(images)


def test_needs_the_routing_head():
    head = dict(type='ltmm.MultiExpertClsHead', num_classes=4, in_channels=8, num_experts=3)
    cfg = dict(type='ltmm.EarlyExitClassifier', backbone=BACKBONE)
    with pytest.raises(InputTypeError, match='needs ltmm.ExpertRoutingHead, but got MultiExpertClsHead'):
        MODELS.build(dict(cfg, head=dict(head, loss=dict(type='ltmm.BalPoELoss'))))
    with pytest.raises(InputTypeError, match="ExpertRoutingLoss needs .'router_logits'."):
        MODELS.build(dict(cfg, head=dict(head, loss=dict(type='ltmm.ExpertRoutingLoss'))))

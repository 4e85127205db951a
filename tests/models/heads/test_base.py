"""Objectives as main and auxiliary losses of the heads."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from toy_losses import TwoTerms, prepare

from ltmm import ClassDistribution
from ltmm.models.losses import Objective
from ltmm.registry import MODELS

C, D = 3, 8
CE, BALPOE = dict(type='mmpretrain.CrossEntropyLoss'), dict(type='ltmm.BalPoELoss')
HEADS = dict(
    single=dict(type='ltmm.LongTailClsHead'),
    multi_label=dict(type='ltmm.MultiLabelClsHead', loss=dict(type='ltmm.MultiLabelBCELoss')),
    experts=dict(type='ltmm.MultiExpertClsHead', num_experts=3, loss=BALPOE),
)
TWO_TERMS = dict(type='ltmm.TwoTerms')
SETTINGS = dict(num_classes=C, in_channels=D, class_counts=[9, 4, 1])


@MODELS.register_module(force=True)
class MeanIndex(Objective):
    """Mean index of the images."""

    requires = ('sample_idx',)

    def terms(self, inputs):
        return dict(loss_index=inputs.sample_idx.double().mean())


def head(kind: str = 'single', **options):
    return prepare(MODELS.build({**HEADS[kind], **SETTINGS, **options}), [9, 4, 1])


def samples(*labels: int, **meta) -> list[DataSample]:
    return [DataSample(metainfo=dict(sample_idx=10 * i, **meta)).set_gt_label(label) for i, label in enumerate(labels)]


def objectives(model) -> list[TwoTerms]:
    return [module for module in model.modules() if isinstance(module, TwoTerms)]


@pytest.mark.parametrize('bfloat16', [False, True])
@pytest.mark.parametrize('classifier', [dict(type='ltmm.Linear'), dict(type='ltmm.NormedLinear', scale=16)])
@pytest.mark.parametrize(
    'kind, loss',
    [
        ('single', CE),
        ('single', dict(type='ltmm.BalancedSoftmaxLoss')),
        ('multi_label', dict(type='ltmm.MultiLabelBCELoss')),
        ('experts', BALPOE),
        ('experts', dict(type='ltmm.SADELoss')),
    ],
)
def test_trains(kind, loss, classifier, bfloat16):
    model = head(kind, loss=loss, classifier=classifier)
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    feats = (torch.randn(3, 6, D) if kind == 'experts' else torch.randn(6, D),)
    history = []
    for _ in range(100):
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=bfloat16):
            value = sum(model.loss(feats, samples(0, 1, 2, 0, 1, 2, num_classes=C)).values())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(value.item())
    assert history[-1] < 0.8 * history[0]


@pytest.mark.parametrize('kind', ['single', 'multi_label'])
@pytest.mark.parametrize('aux', [False, True])
def test_several_terms_train_through_mmengine(kind, aux):
    options = dict(aux_losses=[dict(TWO_TERMS, weight=0.5, name='x')]) if aux else dict(loss=TWO_TERMS)
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='ltmm.IdentityBackbone'),
            head={**HEADS[kind], **SETTINGS, **options},
        )
    )
    before = model.head.fc.weight.detach().clone()
    data = dict(inputs=torch.randn(4, D), data_samples=samples(0, 1, 2, 0, num_classes=C))
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    terms = {name: value for name, value in log.items() if name != 'loss'}
    assert set(terms) == ({'loss_cls', 'x_loss_logits', 'x_loss_features'} if aux else {'loss_logits', 'loss_features'})
    torch.testing.assert_close(log['loss'], sum(terms.values()))
    assert not torch.equal(model.head.fc.weight, before)


@pytest.mark.parametrize('kind', ['single', 'multi_label'])
def test_auxiliary_losses_see_everything(kind):
    model = head(kind, aux_losses=[dict(TWO_TERMS, weight=2.0, name='x')])
    feats, teacher_logits = (torch.randn(2, 5), torch.randn(4, D)), torch.randn(4, C)
    losses = model.loss(feats, samples(0, 1, 2, 0), teacher_logits=teacher_logits)
    (inputs,) = (objective.inputs for objective in objectives(model))
    torch.testing.assert_close(inputs.cls_score, model.fc(feats[1]))
    torch.testing.assert_close([inputs.features, inputs.teacher_logits], [feats[1], teacher_logits])
    assert inputs.sample_idx.tolist() == [0, 10, 20, 30] and inputs.classifier is model.fc and inputs.num_views == 1
    torch.testing.assert_close(inputs.label, model.labels_of(samples(0, 1, 2, 0)))
    torch.testing.assert_close(inputs.loss, losses['loss_cls'])
    torch.testing.assert_close(losses['loss_cls'], head(kind).main_loss(inputs))
    torch.testing.assert_close(losses['x_loss_features'], 2 * feats[1].square().sum() / 4)


def test_auxiliary_losses_see_the_experts():
    model, feats = head('experts', aux_losses=[TWO_TERMS]), (torch.randn(3, 4, D),)
    losses = model.loss(feats, samples(0, 1, 2, 0))
    (inputs,) = (objective.inputs for objective in objectives(model))
    logits = model.expert_logits(feats)
    torch.testing.assert_close([inputs.expert_logits, inputs.cls_score], [logits, logits.mean(0)])
    torch.testing.assert_close(inputs.features, torch.cat(list(feats[0]), dim=1))
    assert inputs.sample_idx.tolist() == [0, 10, 20, 30] and inputs.classifier is model.fc
    main = [losses[f'loss_expert{e}'] for e in range(3)]
    torch.testing.assert_close(inputs.loss, sum(main))
    assert len(losses) == 5


@pytest.mark.parametrize('cls_views', [None, 1, 2])
@pytest.mark.parametrize('soft', [False, True])
def test_views_of_the_main_loss(cls_views, soft):
    model, features = head(cls_views=cls_views, aux_losses=[TWO_TERMS]), torch.randn(8, D)
    data_samples, label = samples(0, 1, 2, 0), torch.tensor([0, 1, 2, 0])
    if soft:
        label = torch.rand(4, C).softmax(1)
        data_samples = [DataSample().set_gt_score(score) for score in label]
    losses = model.loss((features,), data_samples)
    num = 2 if cls_views is None else cls_views
    expected = F.cross_entropy(model.fc(features[: 4 * num]), torch.cat([label] * num))
    torch.testing.assert_close(losses['loss_cls'], expected)
    (inputs,) = (objective.inputs for objective in objectives(model))
    assert inputs.num_views == 2 and len(inputs.features) == 8 and len(inputs.label) == 4


@pytest.mark.parametrize('kind', HEADS)
def test_sample_idx_that_the_pipeline_leaves_out(kind):
    model = head(kind, aux_losses=[dict(type='ltmm.MeanIndex')])
    feats = (torch.randn(3, 2, D) if kind == 'experts' else torch.randn(2, D),)
    assert model.loss(feats, samples(0, 1))['loss_index'] == 5
    with pytest.raises(ValueError, match='MeanIndex needs `sample_idx`'):
        model.loss(feats, [DataSample().set_gt_label(0), DataSample().set_gt_label(1)])


@pytest.mark.parametrize('kind', HEADS)
def test_checkpoint_carries_the_distribution(kind):
    model, fresh = head(kind), MODELS.build({**HEADS[kind], **SETTINGS, 'class_counts': None})
    fresh.load_state_dict(model.state_dict())
    assert fresh.get_class_distribution() == ClassDistribution([9, 4, 1])


def test_cls_views_that_nothing_reads_are_refused():
    with pytest.raises(ValueError, match='sees all views: leave cls_views out'):
        head(cls_views=1, loss=TWO_TERMS)
    with pytest.raises(ValueError, match='expected cls_views=3 views, but got 2'):
        head(cls_views=3).loss((torch.randn(8, D),), samples(0, 1, 2, 0))


def test_experts_train_by_an_objective_alone():
    model = head('experts', loss=TWO_TERMS)
    terms = model.loss((torch.randn(3, 4, D),), samples(0, 1, 2, 0))
    assert len(terms) == 2 and all('loss' in name for name in terms)


@pytest.mark.parametrize(
    'head',
    [
        dict(loss=dict(type='ltmm.DeferredReweighting', loss=CE, start_epoch=1, kind='inverse')),
        dict(type='ltmm.MultiExpertClsHead', num_experts=3, loss=dict(type='ltmm.MDCSLoss')),
        dict(
            type='ltmm.MultiExpertClsHead',
            num_experts=3,
            loss=dict(type='ltmm.DeferredReweighting', loss=dict(type='ltmm.SHIKELoss'), start_epoch=1, kind='inverse'),
        ),
        dict(type='ltmm.MultiLabelClsHead', loss=dict(type='ltmm.SPLCLoss')),
    ],
)
@pytest.mark.parametrize('is_trained', [True, False])
def test_trace(head, is_trained):
    head = MODELS.build({'type': 'ltmm.LongTailClsHead', 'num_classes': 3, 'in_channels': 8, **head}).eval()
    if is_trained:
        prepare(head, [9, 4, 1])
    feats = (torch.randn(3, 4, 8) if 'Expert' in type(head).__name__ else torch.randn(4, 8),)
    torch.testing.assert_close(torch.jit.trace(head, (feats,))(feats), head(feats))

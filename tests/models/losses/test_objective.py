import pytest
import torch
from torch import nn

from ltmm.models.losses import LossInputs, Objective
from ltmm.models.losses.objective import AuxLoss, merge_terms
from ltmm.registry import MODELS

LABEL = torch.tensor([0, 2, 1])


@MODELS.register_module(force=True)
class NormOfFeatures(Objective):
    """Mean norm of the features, and the value of the main loss; keeps its last inputs."""

    requires = ('features',)

    def terms(self, inputs):
        self.inputs = inputs
        terms = dict(loss_norm=inputs.features.norm(dim=1).mean())
        return terms if inputs.loss is None else terms | dict(main=inputs.loss)


def aux(**options) -> AuxLoss:
    return AuxLoss(dict(type='ltmm.NormOfFeatures', **options))


@pytest.mark.parametrize(
    'views, inputs',
    [
        (1, dict(cls_score=torch.zeros(3, 4))),
        (2, dict(features=torch.zeros(6, 5))),
        (3, dict(expert_logits=torch.zeros(2, 9, 4))),
        (2, dict(features=torch.zeros(6, 5), cls_score=torch.zeros(6, 4))),
    ],
)
def test_num_views(views, inputs):
    assert LossInputs(LABEL, **inputs).num_views == views


def test_num_views_of_an_empty_batch():
    assert LossInputs(LABEL[:0], cls_score=torch.zeros(0, 4)).num_views == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_terms_see_at_least_float32(dtype):
    objective, layer = NormOfFeatures(), nn.Linear(5, 4)
    features = torch.randn(3, 5).to(dtype).requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        (value,) = objective(LossInputs(LABEL, features=features, classifier=layer)).values()
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert value.dtype == objective.inputs.features.dtype == expected
    assert objective.inputs.label is LABEL and objective.inputs.classifier is layer
    value.backward()
    assert features.grad.dtype == dtype and features.grad.any()


def test_missing_field_is_named():
    with pytest.raises(ValueError, match='NormOfFeatures needs `features`'):
        NormOfFeatures()(LossInputs(LABEL, cls_score=torch.zeros(3, 4)))
    with pytest.raises(NotImplementedError, match='terms'):
        Objective()(LossInputs(LABEL))


def test_weight_and_name_of_an_auxiliary_loss():
    inputs = LossInputs(LABEL, features=torch.tensor([[3.0, 4.0]] * 3))
    assert aux()(inputs) == dict(loss_norm=5)
    assert aux(weight=0.5, name='half')(inputs) == dict(half_loss_norm=2.5)


@pytest.mark.parametrize(
    'cfg, error, message',
    [
        (dict(type='ltmm.NormOfFeatures', weight=float('nan')), ValueError, '`weight`'),
        (dict(type='ltmm.BalancedSoftmaxLoss'), TypeError, 'objectives, but got BalancedSoftmaxLoss'),
    ],
)
def test_bad_auxiliary_loss(cfg, error, message):
    with pytest.raises(error, match=message):
        AuxLoss(cfg)


def test_auxiliary_losses_see_the_main_loss():
    main = dict(loss_a=torch.tensor(2.0), loss_b=torch.tensor(3.0), accuracy=torch.tensor(90.0))
    inputs = LossInputs(LABEL, features=torch.tensor([[3.0, 4.0]] * 3))
    merged = merge_terms(main, [aux(weight=2, name='x'), aux(name='y')], inputs)
    assert merged == dict(main, x_loss_norm=10, x_main=10, y_loss_norm=5, y_main=5)
    assert inputs.loss is None and len(main) == 3


def test_terms_of_one_name_are_refused():
    inputs = LossInputs(LABEL, features=torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"\['loss_norm', 'main'\].*`name`"):
        merge_terms(dict(loss=torch.tensor(1.0)), [aux(), aux()], inputs)


class MeanOfFeatures(Objective):
    requires = ('features',)

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def terms(self, inputs):
        return dict(loss=self.layer(inputs.features).mean())


def test_terms_of_a_batch_without_rows_are_zero_and_keep_the_graph():
    objective, features = MeanOfFeatures(), torch.zeros(0, 3, requires_grad=True)
    loss = objective(LossInputs(torch.zeros(0, dtype=torch.long), features=features))['loss']
    assert loss == 0
    loss.backward()
    assert features.grad is not None and not objective.layer.weight.grad.any()


def test_terms_that_are_no_dict_are_refused():
    class Scalar(Objective):
        def terms(self, inputs):
            return inputs.label.sum()

    with pytest.raises(TypeError, match='Scalar.terms: expected dict.* but got Tensor'):
        Scalar()(LossInputs(torch.zeros(1, dtype=torch.long)))


@pytest.mark.parametrize('cfg', [dict(weight=0.1), 'ltmm.BalancedContrastiveLoss'])
def test_auxiliary_loss_without_type_is_refused(cfg):
    with pytest.raises(TypeError, match='list of dict'):
        AuxLoss(cfg)

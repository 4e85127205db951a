import pytest
from mmpretrain.models.heads import LinearClsHead
from torch import nn

from ltmm.models.fits import check_losses_fit, head_kind


class RoILoss(nn.Module):
    fits = ('roi',)


def model_with(loss: nn.Module) -> nn.Module:
    head = LinearClsHead(num_classes=3, in_channels=4)
    head.loss_module = loss
    return nn.ModuleDict(dict(head=head))


def test_a_loss_in_a_head_it_does_not_fit_is_refused_with_the_list_that_fits():
    with pytest.raises(TypeError, match=r"RoILoss does not fit head \(LinearClsHead.*It fits: mmdet's RoI box heads"):
        check_losses_fit(model_with(RoILoss()))


def test_losses_that_say_nothing_are_not_checked():
    check_losses_fit(model_with(nn.CrossEntropyLoss()))


def test_other_modules_have_no_kind():
    assert head_kind(nn.Linear(1, 1)) is None

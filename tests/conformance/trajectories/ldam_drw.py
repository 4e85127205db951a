"""Cross entropy and LDAM-DRW."""

from typing import Any

from torch import Tensor, nn

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import given, train


@adaptor('trajectory_ldam_drw')
def ldam_drw(case: Case) -> dict[str, Any]:
    names = dict(max_m='max_margin', s='scale')
    loss = {f'model.head.loss.loss.{names[name]}': value for name, value in case.params['loss'].items()}
    config = f'cifar100_lt/{case.params["method"]}_r32.py'
    training = train(given(case), config, our_name, {'model.backbone.depth': case.params['depth'], **loss})
    return training.compare(case, cosines)


def cosines(model: nn.Module, images: Tensor) -> Tensor:
    """Logits, without the scale that our head puts on cosines in evaluation mode."""
    return model(images) / (1 if model.training else model.head.cosine_scale)

"""Object detection: losses of box heads."""

from typing import Any

import numpy as np

from ltmm import ClassDistribution
from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('eql')
def eql(case: Case) -> dict[str, Any]:
    params = case.params
    # The authors' numbers hold classes in more images than there are. They are head classes either way.
    image_counts = np.minimum(case.arrays['image_count'], params['num_images'])
    loss = MODELS.build(
        dict(
            type='ltmm.EQLLoss',
            lambda_=params['lambda_'],
            loss_weight=params['loss_weight'],
            num_classes=params['num_classes'],
            class_counts=ClassDistribution(image_counts, num_images=params['num_images']),
        )
    )
    case.check('freq', loss.get_class_distribution().image_frequency, np.minimum(case.arrays['freq'], 1))
    return dict(
        case.loss_and_grad(loss, label='labels', grad='grad'),
        scores=loss.get_activation(case['logits']),
    )

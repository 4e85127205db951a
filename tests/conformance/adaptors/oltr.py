"""OLTR: classifier with memory, centroid loss, modulated attention."""

from torch import Tensor, nn

from ltmm.models.layers.meta_embedding import memory_feature, squashed_cosine
from ltmm.models.losses import LossInputs
from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('oltr')
def oltr(case: Case) -> dict[str, Tensor]:
    return classifier(case) | centroid_loss(case, 'near') | centroid_loss(case, 'far') | attention(case)


def meta_embedding(centroids: Tensor) -> nn.Module:
    num_classes, width = centroids.shape
    layer = MODELS.build(dict(type='ltmm.MetaEmbedding', in_features=width, out_features=num_classes))
    layer.centroids.data = centroids
    return layer


def classifier(case: Case) -> dict[str, Tensor]:
    layer, x = meta_embedding(case['centroids']).to(case.dtype), case['x'].requires_grad_()
    weights = {'hallucinator.weight': 'halluc_w', 'hallucinator.bias': 'halluc_b', 'selector.weight': 'sel_w'}
    weights |= {'selector.bias': 'sel_b', 'weight': 'cos_w', 'centroids': 'centroids'}
    layer.load_state_dict({name: case[array] for name, array in weights.items()})
    logits = layer(x)
    (logits * case['probe']).sum().backward()
    assert layer.centroids.grad is None
    return dict(
        meta_logits=logits,
        meta_grad_x=x.grad,
        infused=memory_feature(x, layer.centroids, layer.hallucinator, layer.selector),
        cosnorm_logits=layer.scale * squashed_cosine(x, layer.weight),
    )


def centroid_loss(case: Case, name: str) -> dict[str, Tensor]:
    options = dict(margin=case.argument('margin', 10.0), repel_weight=case.argument('repel weight', 0.01))
    loss = MODELS.build(dict(type='ltmm.DiscCentroidsLoss', loss_weight=1.0, **options))
    scale = case[f'disc_{name}_scale']
    features, layer = (scale * case['x']).requires_grad_(), meta_embedding(scale * case['centroids'])
    (value,) = loss(LossInputs(label=case['disc_label'], features=features, classifier=layer)).values()
    value.backward()
    found = dict(loss=value, grad_feat=features.grad, grad_centroids=layer.centroids.grad)
    return {f'disc_{name}_{key}': array for key, array in found.items()}


def attention(case: Case) -> dict[str, Tensor]:
    prefix, x = 'att_', case['att_in']
    _, channels, size, _ = x.shape
    neck = MODELS.build(dict(type='ltmm.ModulatedAttention', in_channels=channels, spatial_size=size)).to(case.dtype)
    neck.load_state_dict({name: case[prefix + name.replace('.', '_')] for name in neck.state_dict()})
    return dict(att_out=neck((x,))[0])

"""Which method to start with, from the numbers of images."""

from collections.abc import Iterator, Mapping

from ltmm.datasets.samplers.base import sampler_balances_classes
from ltmm.models.losses import LogitLoss, Objective
from ltmm.registry import MODELS

from .finding import singular
from .parts import Part

__all__ = ['advise']

WHERE = 'configs/cifar100_lt/README.md, "Which method when"'


def advise(part: Part, cfg: Mapping) -> list[str]:
    """Return sentences on the class distribution and the method to start with.

    They rest on the tables of this repository, which were measured on other data: a start, to be compared with plain
    training on the validation set.

    Args:
        part: The training data.
        cfg: The config.
    """
    counts = part.table.image_counts
    counts = counts[counts > 0]
    if len(counts) < 2:
        return ['There is one class, or none: nothing to balance.']
    factor, smallest = counts.max() / counts.min(), int(counts.min())
    lines = [f'The imbalance factor (images of the largest over those of the smallest class) is {factor:.3g}.']
    if part.boxes:
        lines += _detection(factor, cfg)
    elif part.table.is_multi_label or (part.table.is_multi_label is None and not part.table.is_single_label):
        lines += _multi_label(part)
    else:
        lines += _single_label(factor, cfg)
    if smallest < 10:
        few = int((counts < 10).sum())
        lines.append(
            f'{few} classes have fewer than 10 images (the smallest {smallest}). Begin with pretrained weights '
            '(configs/own_data), and look at each class on its own: no method replaces photos, and a few more of these '
            'classes help most.'
        )
    return list(map(singular, lines))


def _single_label(factor: float, cfg: Mapping) -> list[str]:
    if factor < 3:
        return ['The classes are nearly balanced: plain cross entropy is right, methods for a long tail change little.']
    balancing = _balancing_part(cfg)
    if balancing:
        start = f'The config balances the classes by {balancing}. Compare it with plain cross entropy'
        start += f': {_loss_option(cfg, "CrossEntropyLoss")}' if balancing == _loss(cfg).get('type') else ''
    else:
        start = 'Train cross entropy first, then balanced softmax, one line and no more time: '
        start += _loss_option(cfg, 'ltmm.BalancedSoftmaxLoss')
    return [
        f'{start}. Look at balanced accuracy and the lowest recall.',
        'For a model trained with cross entropy, in seconds: tools/post_process.py CONFIG CHECKPOINT --method '
        'logit_adjustment.',
        'With time to spare: cRT in two stages, or RIDE with several experts; they were a point better there for twice '
        f'the time ({WHERE}).',
    ]


def _balancing_part(cfg: Mapping) -> str | None:
    """Return the type of the loss or the sampler of a classifier that balances the classes, or None."""
    loss, sampler = _loss(cfg), cfg['train_dataloader'].get('sampler')
    if loss:
        cls = MODELS.get(loss['type'])
        if loss.get('class_weight') or (cls and issubclass(cls, (LogitLoss, Objective)) and cls.balances_classes):
            return loss['type']
    return sampler['type'] if sampler and sampler_balances_classes(sampler) else None


def _loss_option(cfg: Mapping, loss: str) -> str:
    """Return what chooses a loss on the command line: the config's own option, if it has one."""
    if cfg.get('loss') is not None and cfg['loss'] == _loss(cfg).get('type'):
        return f'--cfg-options loss={loss}'
    return f"model.head.loss=dict(_delete_=True, type='{loss}')"


def _loss(cfg: Mapping) -> Mapping:
    """Return the config of the loss of a classifier; empty if there is none."""
    return ((cfg.get('model') or {}).get('head') or {}).get('loss') or {}


def _multi_label(part: Part) -> list[str]:
    if part.table.has_unknown:
        num = int(part.table.unknown.sum())
        return [
            f'{num} of {len(part.table)} images have unknown labels. Use a loss that leaves them out or weighs them: '
            'ltmm.PartialASLLoss, or ltmm.ASLLoss and ltmm.MultiLabelBCELoss, which skip them '
            '(configs/own_data/multi_label.py).',
        ]
    return [
        'Asymmetric loss (ltmm.ASLLoss) was better than BCE for frequent and rare classes; the distribution-balanced '
        'loss (ltmm.DistributionBalancedLoss with class-balanced sampling) was best for rare ones and worse for '
        'frequent ones (configs/cifar100_mosaics/README.md).',
    ]


def _detection(factor: float, cfg: Mapping) -> list[str]:
    if factor < 3:
        return ['The classes are nearly balanced: the softmax of a plain detector is right.']
    types = {str(name).removeprefix('ltmm.') for name in _types([cfg['train_dataloader'], cfg.get('model')])}
    repeats = bool(types & {'RepeatFactorSampler', 'ClassBalancedDataset'})
    has_experts = 'MultiExpertBBoxHead' in types
    if repeats and has_experts:
        text = (
            'The config has repeated images of rare classes and several experts, which were best together on FOD-A-LT. '
            'Still open: the threshold of the repetition'
        )
    elif repeats:
        text = (
            'The config repeats images of rare classes, which was the best single change on FOD-A-LT. Still open: '
            'three experts (ltmm.MultiExpertBBoxHead), which added 5 AP to it, a new classifier (cRT), which added 2 '
            '(docs/start/own_boxes.md), and the threshold of the repetition'
        )
    elif has_experts:
        text = (
            'The config has several experts, second on FOD-A-LT. Still open: repeat-factor sampling '
            '(ltmm.RepeatFactorSampler), best there, and better still with the experts'
        )
    else:
        text = (
            'Repeat-factor sampling (ltmm.RepeatFactorSampler) was the best single change on FOD-A-LT; three experts '
            '(ltmm.MultiExpertBBoxHead) added 5 AP to it. EQLv2 needs long schedules'
        )
    return [f'{text} (configs/foda_lt/README.md).']


def _types(value: object) -> Iterator[object]:
    """Yield the types of all parts of a config."""
    if isinstance(value, dict):
        yield from [value['type']] if 'type' in value else []
        value = list(value.values())
    for item in value if isinstance(value, (list, tuple)) else ():
        yield from _types(item)

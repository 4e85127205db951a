"""Every config can be read, names registered types, builds its model, and is short."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from torch import nn
from torch.nn.modules.conv import _ConvNd
from toy import read_config, readme_options

import ltmm.registry
from ltmm import ClassDistribution
from ltmm.datasets.labels import class_distribution_of
from ltmm.models.layers import MetaEmbedding
from ltmm.registry import DATASETS, MODELS
from ltmm.utils.environment import mmdet_is_usable

ROOT = Path(__file__).parents[1]
DETECTION = ('foda_lt', 'lvis')
CONFIGS = sorted((ROOT / 'configs').glob('[!_]*/*.py'))


def needs_mmdet(path: Path) -> pytest.MarkDecorator:
    unusable = path.parent.name in DETECTION and not mmdet_is_usable()
    return pytest.mark.skipif(unusable, reason='needs mmdet and the compiled ops of mmcv')


def each(paths: list[Path]) -> list:
    return [pytest.param(path, id=str(path.relative_to(ROOT / 'configs')), marks=needs_mmdet(path)) for path in paths]


def types(node: Any) -> Iterator[str]:
    """All values of 'type' in a config."""
    if isinstance(node, dict):
        yield from (str(value) for key, value in node.items() if key == 'type')
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from types(child)


@pytest.mark.parametrize('path', each(CONFIGS))
def test_types_are_registered(path):
    registries = [getattr(ltmm.registry, name) for name in ltmm.registry.__all__]
    names = {name.partition('.')[2] for name in types(read_config(path).to_dict()) if name.startswith('ltmm.')}
    assert names
    assert [name for name in sorted(names) if all(registry.get(name) is None for registry in registries)] == []


@pytest.mark.parametrize('path', each(CONFIGS))
def test_model_builds(path, monkeypatch):
    for layer in (_ConvNd, nn.Linear):  # drawing weights takes most of the time
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)
    cfg = read_config(path)
    if 'data_preprocessor' in cfg:  # as the Runner does
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    if path.stem.startswith('ce_'):  # the other configs of the folder inherit these networks
        for parameter in model.parameters():
            parameter.data.zero_()
        images = torch.zeros(1, len(cfg.data_preprocessor.mean), 32, 32)
        assert model.eval()(images).shape == (1, cfg.data_preprocessor.num_classes)


def test_at_most_25_lines():
    assert [path for path in CONFIGS if len(path.read_text().splitlines()) > 25] == []


def test_no_copies():
    """A recipe is written once; CIFAR-10 and CIFAR-100 have three one-line recipes of the same text."""
    texts = [path.read_text() for path in CONFIGS]
    copies = {path.name for path, text in zip(CONFIGS, texts) if texts.count(text) > 1}
    assert copies == {'balanced_softmax_r32.py', 'ce_r32_if10.py', 'ce_r32_if50.py'}


def result_of(path: Path) -> str:
    """Last checkpoint of a training in its default work directory."""
    return f'work_dirs/{path.parent.name}/{path.stem}/epoch_{Config.fromfile(path).train_cfg.max_epochs}.pth'


TAUGHT = [path for path in CONFIGS if path.parent.name not in DETECTION and 'teacher' in read_config(path).model]
SADE_AT_TEST = [path for path in CONFIGS if path.stem.startswith('sade_tta_')]


@pytest.mark.parametrize('path', each(TAUGHT))
def test_teacher_checkpoint(path):
    model = read_config(path).model
    assert model.teacher_checkpoint == result_of(Path(model.teacher))


@pytest.mark.parametrize('path', each(SADE_AT_TEST))
def test_sade_on_shifted_test_sets(path):
    config, trained = path.relative_to(ROOT), path.parent / f'sade_{path.stem.split("_")[2]}.py'
    assert f'python tools/test.py {config} {result_of(trained)}' in (path.parent / 'README.md').read_text()
    options = readme_options(str(config))
    factor = options['test_dataloader.dataset.imbalance_factor']

    def counts(**changes):
        cfg = read_config(path)
        assert cfg.test_cfg.type == 'ltmm.ExpertAggregationLoop'
        cfg.merge_from_dict(options | changes)
        dataset = cfg.test_dataloader.dataset
        dataset.dataset = dict(type='ltmm.ToyImages', counts=(50, 50, 50), pipeline=[])
        if 'train_dataset' in dataset:
            dataset.train_dataset = dict(type='ltmm.ToyImages', counts=(5, 9, 2), pipeline=[])
        return class_distribution_of(DATASETS.build(dataset)).instance_counts

    unshifted = {key: read_config(path).test_dataloader.dataset[key.split('.')[-1]] for key in options}
    assert counts(**unshifted).tolist() == [50, 50, 50]
    few, some, many = sorted(counts())
    assert (few, many) == (50 // factor, 50) and few < some < many
    ranked = counts()[[0, 1, 2] if path.parent.name == 'cifar100_lt' else [1, 0, 2]]
    assert ranked.tolist() == [few, some, many]
    forward = counts(**{'test_dataloader.dataset.direction': 'forward'})
    assert sorted(forward) == [few, some, many] and forward[2] == few


LOSSES_ON_CIFAR = {
    'softmax_focal': 'SoftmaxFocalLoss',
    'class_balanced_softmax': 'ClassBalancedLoss',
    'class_balanced_sigmoid': 'ClassBalancedLoss',
    'effective_number': 'ReweightedLoss',
    'inverse_bce': 'ReweightedLoss',
}


@pytest.mark.parametrize('name', LOSSES_ON_CIFAR)
def test_losses_on_cifar(name):
    cfg = Config.fromfile(ROOT / f'configs/cifar100_lt/{name}_r32.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        head = MODELS.build(cfg.model.head)
    assert type(head.loss_module).__name__ == LOSSES_ON_CIFAR[name]
    assert head.use_sigmoid is (name in ('class_balanced_sigmoid', 'inverse_bce'))


@pytest.mark.parametrize('name, step', [('post_hoc_logit_adjustment', 'LogitA'), ('temperature', 'TemperatureS')])
def test_post_hoc_methods_on_cifar(name, step):
    cfg = Config.fromfile(ROOT / f'configs/cifar100_lt/{name}_r32.py')
    train, post_process = cfg.stages
    assert post_process.step.type.startswith(f'ltmm.{step}') and set(post_process.step) == {'type'}
    assert Path(train.config).stem == 'ce_r32'


def test_cifar_schedule():
    cfg = Config.fromfile(ROOT / 'configs/cifar100_lt/ce_r32.py')
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(dict(s, optimizer=optimizer)) for s in cfg.param_scheduler]
    for epoch in range(1, cfg.train_cfg.max_epochs + 1):
        if epoch <= 5:  # github.com/kaidic/LDAM-DRW @2536330, adjust_learning_rate
            expected = 0.1 * epoch / 5
        else:
            expected = 0.1 * (0.0001 if epoch > 180 else 0.01 if epoch > 160 else 1)
        assert optimizer.param_groups[0]['lr'] == pytest.approx(expected), epoch
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


def test_places_learning_rates():
    cfg = Config.fromfile(ROOT / 'configs/places_lt/ce_r152.py')
    model = torch.nn.ModuleDict(dict(backbone=torch.nn.Linear(1, 1), head=torch.nn.Linear(1, 1)))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    rates = {id(group['params'][0]): group['lr'] for group in wrapper.param_groups}
    assert rates[id(model.backbone.weight)] == pytest.approx(0.001)
    assert rates[id(model.head.weight)] == pytest.approx(0.1)


@pytest.mark.parametrize('config', ['cifar10_lt/ce_r32', 'cifar100_lt/ce_r32', 'fashion_mnist_lt/ce_r8'])
@pytest.mark.parametrize('factor', [50, 10])
def test_imbalance_factors(config, factor):
    base, variant = (
        Config.fromfile(ROOT / f'configs/{name}.py').to_dict() for name in (config, f'{config}_if{factor}')
    )
    assert variant['train_dataloader']['dataset'].pop('imbalance_factor') == factor
    assert base['train_dataloader']['dataset'].pop('imbalance_factor') == 100
    assert variant == base


@pytest.mark.parametrize('folder', ['coco_mlt', 'voc_mlt'])
@pytest.mark.parametrize('name, plain', [('rs', 'bce'), ('rs_focal', 'focal'), ('r_bce', 'rs')])
def test_resampled_baselines(folder, name, plain):
    first, second = (Config.fromfile(ROOT / f'configs/{folder}/{x}_r50.py').to_dict() for x in (name, plain))
    if name == 'r_bce':
        assert first['model']['head'].pop('loss') != second['model']['head'].pop('loss')
    else:
        first, second = (dict(cfg, **cfg.pop('train_dataloader')) for cfg in (first, second))
        assert first.pop('drop_last') and first.pop('sampler')['type'] == 'ltmm.ClassAwareSampler'
        assert second.pop('sampler')['type'] == 'DefaultSampler'
    assert first == second


@pytest.mark.parametrize('path', each([path for path in CONFIGS if path.parent.name in ('coco_mlt', 'voc_mlt')]))
def test_missing_labels_are_one_option(path):
    dataset = Config.fromfile(path).train_dataloader.dataset
    assert dataset.type == 'ltmm.PartialLabels'
    assert dataset.missing_rate == (0.4 if path.stem in ('comic_r50', 'partial_asl_r50') else 0)
    assert dataset.dataset.type.upper() == f'LTMM.{path.parent.name.replace("_", "").upper()}'
    assert dataset.dataset.split == 'train' and dataset.dataset.pipeline[-1].type == 'PackInputs'


def test_warm_up_of_mmcv():
    """It is at the full rate at iteration 500, not 499."""
    model = nn.Linear(1, 1)
    cfg = read_config(ROOT / 'configs/coco_mlt/db_r50.py')
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    warm_up = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler[0], optimizer=optimizer))
    rates = []
    for _ in range(502):
        rates += optimizer.get_lr()['lr']
        optimizer.optimizer.step()
        warm_up.step()
    expected = [0.02 * (1 - (1 - min(k / 500, 1)) * (1 - 1 / 3)) for k in range(502)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize('folder', ['coco_mlt', 'voc_mlt'])
def test_inverse_square_root_weights(folder):
    loss = MODELS.build(Config.fromfile(ROOT / f'configs/{folder}/rw_r50.py').model.head.loss)
    loss.set_class_distribution(ClassDistribution([100, 25, 4], num_images=100))
    score, target = torch.zeros(2, 3), torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    expected = torch.tensor([1.0, 2, 5]).mean() * torch.tensor(2.0).log()
    torch.testing.assert_close(loss(score, target), expected)


@pytest.mark.parametrize(
    ('config', 'rates'),  # of features, classifier, centroids in the papers' code
    [
        ('cifar100_lt/oltr_r32', (0.01, 0.1, 0.01)),
        ('imagenet_lt/oltr_r10_stage1', (0.1, 0.1, None)),
        ('imagenet_lt/oltr_r10', (0.01, 0.1, 0.01)),
        ('places_lt/oltr_r152_stage1', (0.001, 0.1, None)),
        ('places_lt/oltr_r152', (0.0001, 0.01, 0.01)),
    ],
)
def test_oltr_rates(config, rates):
    parts = dict(backbone=nn.Linear(1, 1), neck=nn.Linear(1, 1), head=nn.ModuleDict(dict(fc=MetaEmbedding(1, 1))))
    if rates[2] is None:
        parts['head']['fc'] = nn.Linear(1, 1)
    model = nn.ModuleDict(parts)
    wrapper = build_optim_wrapper(model, read_config(ROOT / f'configs/{config}.py').optim_wrapper)
    groups = wrapper.param_groups if len(wrapper.param_groups) > 1 else wrapper.param_groups * 6
    got = dict(zip((name for name, _ in model.named_parameters()), (group['lr'] for group in groups)))
    assert got['backbone.weight'] == pytest.approx(rates[0]) and got['neck.bias'] == pytest.approx(rates[0])
    assert {got[name] for name in got if name.startswith('head') and 'centroids' not in name} == {rates[1]}
    assert got.get('head.fc.centroids') == rates[2]

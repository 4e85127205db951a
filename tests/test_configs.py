"""Every config can be read, names registered types, builds its model, and is short."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.nn.modules.conv import _ConvNd
from toy import read_config, readme_options

import ltmm.registry
from ltmm import ClassDistribution
from ltmm.datasets.labels import class_distribution_of
from ltmm.models.batch_augments import BATCH_AUGMENTS
from ltmm.models.layers import MetaEmbedding
from ltmm.registry import DATASETS, MODELS, TRANSFORMS
from ltmm.utils.environment import mmdet_is_usable

ROOT = Path(__file__).parents[1]
DETECTION = ('foda_lt', 'lvis', 'openimages')
OWN_BOXES = ('faster-rcnn', 'mask-rcnn')
CONFIGS = sorted((ROOT / 'configs').glob('[!_]*/*.py'))


def is_detector(path: Path) -> bool:
    return path.parent.name in DETECTION or path.stem in OWN_BOXES


def needs_mmdet(path: Path) -> pytest.MarkDecorator:
    unusable = is_detector(path) and not mmdet_is_usable()
    return pytest.mark.skipif(unusable, reason='needs mmdet')


def each(paths: list[Path]) -> list:
    return [pytest.param(path, id=str(path.relative_to(ROOT / 'configs')), marks=needs_mmdet(path)) for path in paths]


def values(node: Any, name: str) -> Iterator:
    """All values of a key in a config."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == name)
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from values(child, name)


def types(node: Any) -> Iterator[str]:
    """All values of 'type' in a config."""
    return map(str, values(node, 'type'))


@pytest.mark.parametrize('path', each(CONFIGS))
def test_types_are_registered(path):
    registries = [BATCH_AUGMENTS, *(getattr(ltmm.registry, name) for name in ltmm.registry.__all__)]
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


TAUGHT = [path for path in CONFIGS if not is_detector(path) and 'teacher' in read_config(path).model]
SADE_AT_TEST = [path for path in CONFIGS if path.stem.startswith('sade_tta_')]


@pytest.mark.parametrize('path', each(TAUGHT))
def test_teacher_is_trained_first(path):
    cfg = read_config(path)
    (stage,) = (stage for stage in cfg.stages if stage.type == 'ltmm.TeacherStage')
    assert cfg.model.teacher_checkpoint == f'stage://{stage.name}'
    assert cfg.model.teacher == read_config(Path(stage.config)).model


@pytest.mark.parametrize('path', each(SADE_AT_TEST))
def test_sade_on_shifted_test_sets(path):
    config, trained = path.relative_to(ROOT), path.parent / f'sade_{path.stem.split("_")[2]}.py'
    assert f'python tools/test.py {config} {result_of(trained)}' in (path.parent / 'README.md').read_text()
    assert [stage.config for stage in read_config(path).stages] == [str(trained)]
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


Rate = Callable[[int, int], float]  # share of the full rate, from the epoch and the iteration, counted from 0


def steps(*milestones: int, gamma: float = 0.1, warmup: int = 1) -> Rate:
    """1 / warmup, 2 / warmup, ... of the rate in the first epochs; times gamma at each milestone."""
    return lambda epoch, _: min(1, (epoch + 1) / warmup) * gamma ** sum(epoch >= m for m in milestones)


def cosine(epochs: int) -> Rate:
    return lambda epoch, _: (1 + math.cos(math.pi * epoch / epochs)) / 2


def overshooting(epochs: int) -> Rate:
    """GLMC's rates, set after the epoch: of epoch e at the end of it, for the next; the first has the full rate."""

    def after(e: int) -> float:
        return (e + 1) / 10 if e <= 10 else (1 + math.cos(math.pi * (e - 10 + 1) / (epochs - 10 + 1))) / 2

    return lambda epoch, _: after(epoch - 1) if epoch else 1.0


def warmup(start: float, iters: int, rate: Rate) -> Rate:
    """A linear warm-up that reaches the full rate at iteration ``iters``."""
    return lambda epoch, step: rate(epoch, step) * (start + (1 - start) * min(step / iters, 1))


def warm_cosine(epochs: int, warmup_epochs: int, floor: float = 0.0) -> Rate:
    """By iteration: from 1e-4 of the rate to all of it at the end of the warm-up, then cosine to the floor."""
    iters, rest = warmup_epochs * LENGTH, (epochs - warmup_epochs) * LENGTH
    decay = cosine(rest)
    return lambda _, step: (
        1e-4 + (1 - 1e-4) * step / (iters - 1) if step < iters else floor + (1 - floor) * decay(step - iters, step)
    )


def floored(epoch: int) -> float:
    """Cosine of 1,000 epochs to 1e-4."""
    return 1e-4 + (1 - 1e-4) * cosine(1000)(epoch, 0)


def fixmatch(epochs: int) -> Rate:
    """By iteration: the first 7/8 of half a cosine."""
    return lambda _, step: math.cos(7 / 16 * math.pi * step / (epochs * LENGTH))


LENGTH = 64  # of an epoch, where iterations count
RATES = {  # of all configs: their schedule is that of one of these
    'cifar100_lt/ce_r32': steps(160, 180, gamma=0.01, warmup=5),
    'cifar100_lt/area_r32': steps(159, 179, gamma=0.01, warmup=5),
    'cifar100_lt/cc_sam_r32': steps(),
    'cifar100_lt/cc_sam_r32_stage1': lambda epoch, _: min(7 / 15 + 2 * epoch / 15, 1) * steps(159, 179)(epoch, _),
    'cifar100_lt/focal_sam_r32': cosine(200),
    'cifar100_lt/sade_r32': steps(160, 180, warmup=5),
    'cifar100_lt/balpoe_r32_400e': steps(320, 360, warmup=10),
    'cifar100_lt/lgla_r32': lambda epoch, _: min(1, (5 + 2 * epoch) / 15) * steps(320, 360)(epoch, _),
    'cifar100_lt/livt_vit-tiny-p4': warm_cosine(100, 5, floor=1e-3),
    'cifar100_lt/livt_vit-tiny-p4_mae': warm_cosine(800, 5),
    'cifar100_lt/logit_adjustment_r32_1419e': steps(691, 1059, 1290, warmup=22),
    'cifar100_lt/mdcs_r32': steps(200, 320, 380, warmup=20),
    'cifar100_lt/mdcs_r32_200e': steps(160, 180, warmup=20),
    'cifar100_lt/ncl_r32': lambda epoch, _: min(7 / 15 + 2 * epoch / 15, 1) * steps(319, 359)(epoch, _),
    'cifar100_lt/paco_r32': steps(321, 361, warmup=10),
    'cifar100_lt/ride_distill_r32': steps(160, 180, gamma=0.01, warmup=20),
    'cifar100_lt/oltr_r32': steps(20, 40),
    'cifar100_lt/shike_r32': lambda epoch, _: 0.375 + epoch / 8 if epoch < 5 else cosine(15)(epoch - 5, _),
    'cifar100_lt/shike_r32_stage1': lambda epoch, _: (epoch + 1) / 6 if epoch < 5 else cosine(175)(epoch - 5, _),
    'cifar100_lt/moco_r32_probe': steps(60, 80),
    'cifar100_lt/moco_v1_r32_pretrain': steps(120, 160),
    'imagenet_lt/moco_v1_r50_pretrain': steps(120, 160),
    'cifar100_lt/causal_tde_r32_bbn': lambda epoch, _: (
        (7 + 2 * epoch) / 15 if epoch < 5 else steps(119, 159, gamma=0.01)(epoch, _)
    ),
    'trajectory/ewta_synthetic': lambda _, step: 0.9999**step,
    'cifar100_lt/crt_r32': cosine(10),
    'cifar100_lt/super_disco_r32': cosine(40),
    'cifar100_lt/lws_r32': cosine(5),
    'cifar100_lt/ce_r32_wd5e-3': cosine(200),
    'cifar100_lt/ce_r34_wd5e-3': cosine(320),
    'cifar100_lt/los_r32': cosine(20),
    'cifar100_lt/balms_r32': lambda epoch, _: cosine(91)(epoch + 1, _),
    'cifar100_lt/supcon_r32': steps(140, 180, warmup=5),
    'cifar100_lt/supcon_r32_stage1': lambda epoch, step: (
        0.02 + step / LENGTH / 10 * (floored(10) - 0.02) if epoch < 10 else floored(epoch)
    ),
    'cifar100_lt/sbcl_r32_cb': cosine(45),
    'own_data/moco_r50': cosine(50),
    'imagenet_lt/kcl_r50': steps(20, 30),
    'imagenet_lt/kcl_r50_stage1': cosine(200),
    'cifar100_lt_features/ce': cosine(20),
    'cifar100_lt_semi/fixmatch_wrn28-2': fixmatch(500),
    'cifar100_lt_semi/adello_wrn28-2': fixmatch(524),
    'cifar100_lt_semi/simpro_wrn28-2': fixmatch(86),
    'cifar100_mosaics/bce_r32': steps(14, 18),
    'coco_mlt/bce_r50': warmup(1 / 3, 500, steps(5, 7)),
    'coco_mlt/comic_r50': steps(11, 23, 35),
    'fashion_mnist_lt/ce_r8': lambda _, step: (
        0.1 + 0.9 * step / (LENGTH - 1) if step < LENGTH else cosine(7 * LENGTH)(step - LENGTH, step)
    ),
    'imagenet_lt/ce_rx50': cosine(90),
    'imagenet_lt/causal_tde_rx50': lambda epoch, _: cosine(90)(epoch + 1, _),
    'imagenet_lt/balms_r10': lambda epoch, _: cosine(20)(epoch + 1, _),
    'places_lt/balms_r152': lambda epoch, _: cosine(10)(epoch + 1, _),
    'imagenet_lt/bcl_rx50': lambda epoch, _: cosine(91)(epoch + 1, _),
    'imagenet_lt/glmc_rx50': overshooting(135),
    'inaturalist2018/glmc_rx50': overshooting(120),
    'imagenet_lt/livt_vit-base-p16': warm_cosine(100, 10, floor=2.5e-4),
    'imagenet_lt/livt_vit-base-p16_mae': warm_cosine(800, 40),
    'imagenet_lt/sade_rx50': cosine(180),
    'imagenet_lt/ncl_r50': lambda epoch, _: 1e-4 + (1 - 1e-4) * cosine(200)(epoch + 1, _),
    'imagenet_lt/paco_r50': lambda epoch, _: (epoch + 1) / 10 if epoch < 10 else cosine(391)(epoch - 9, _),
    'imagenet_lt/mislas_r50_stage1': cosine(180),
    'imagenet_lt/lfme_r10': steps(49, 79),
    'imagenet_lt/lfme_r10_many': lambda epoch, _: cosine(120)(epoch + 1, _),
    'imagenet_lt/ride_rx50': steps(60, 80, warmup=5),
    'imagenet_lt/oltr_r10_stage1': steps(10, 20),
    'inaturalist2018/balpoe_r50': cosine(100),
    'inaturalist2018/crt_r50': cosine(30),
    'inaturalist2018/lgla_r50': lambda epoch, _: 5e-4 + (1 - 5e-4) * cosine(400)(epoch, _),
    'inaturalist2018/mislas_r50_stage1': cosine(200),
    'inaturalist2018/ncl_r50': lambda epoch, _: 1e-4 + (1 - 1e-4) * cosine(400)(epoch + 1, _),
    'inaturalist2018/mdcs_r50': steps(200, 300, 380, warmup=5),
    'lvis_mini_multi_label/db_r50': steps(28, 36),
    'own_data/finetune_r50': lambda _, step: (
        (step + 1) / (2 * LENGTH + 1) if step < 2 * LENGTH else cosine(18 * LENGTH)(step - 2 * LENGTH, step)
    ),
    'places_lt/livt_vit-base-p16': warm_cosine(30, 10, floor=2.5e-4),
    'places_lt/ncl_r152': lambda epoch, _: min(7 / 15 + 2 * epoch / 15, 1) * steps(9, 19)(epoch, _),
    'places_lt/paco_r152': lambda epoch, _: cosine(31)(epoch + 1, _),
    'places_lt/sade_r152': steps(10, 20),
    'foda_lt/softmax_faster-rcnn_mobilenetv2': warmup(0.01, 99, steps(6, 7)),
    'foda_lt/rfs_faster-rcnn_r50': warmup(0.01, 99, steps(8, 11)),
    'foda_lt/loce_faster-rcnn_mobilenetv2': warmup(0.01, 99, steps(1)),
    'foda_lt/stepwise_faster-rcnn_mobilenetv2_stage1': steps(),
    'foda_lt/stepwise_faster-rcnn_mobilenetv2_stage2': steps(1),
    'openimages/softmax_faster-rcnn_r50': warmup(1 / 64, 25999, steps(8, 11)),
    'lvis/eql_r50': warmup(0.001, 499, steps(8, 11)),  # mmdet's schedules
    'lvis/eql_r50_2x_v0.5': warmup(0.001, 499, steps(16, 22)),
    'lvis/seesaw_r101_2x': warmup(0.001, 499, steps(16, 22)),
    'lvis/bags_r50': warmup(1 / 3, 500, steps(8, 11)),
    'lvis/efl_atss_r50_2x': warmup(0.001, LENGTH - 1, steps(16, 22)),
    'lvis/loce_r50': warmup(0.001, 499, steps(3, 5)),
    'lvis/ecm_r50': warmup(0.0001, 10000, steps(8, 11)),
    'lvis/ecm_r50_2x': warmup(0.0001, 10000, steps(20, 22)),
    'lvis/rog_r50': warmup(0.0001, 500, steps(8, 11)),
    'lvis/rog_seesaw_r50': warmup(0.0001, 500, steps(16, 22)),
    'lvis/rog_r50_lvis_mini': warmup(0.01, 19, steps(30, 36)),
    'lvis/eql_deformable-detr_r50': steps(40),
    'federated/ce_r32': steps(1600, gamma=0.05),
    'super_resolution/fpl_fsrcnn_x4': lambda _, step: 1e-6 + (1 - 1e-6) * cosine(10 * LENGTH)(step, step),
    'super_resolution/fpl_fsrcnn_x4_div2k': lambda _, step: 1e-6 + (1 - 1e-6) * cosine(500 * LENGTH)(step, step),
}


def schedule(path: Path) -> tuple[list[dict], int] | None:
    cfg = read_config(path).to_dict()
    schedulers = cfg.get('param_scheduler')
    if schedulers is None or 'max_iters' in cfg['train_cfg']:  # see test_federated_recipe_counts_iterations
        return None
    train_cfg = cfg['train_cfg']
    length = train_cfg['max_rounds' if 'max_rounds' in train_cfg else 'max_epochs']
    return (schedulers if isinstance(schedulers, list) else [schedulers]), length


@pytest.mark.parametrize('path', each([ROOT / f'configs/{name}.py' for name in RATES]))
def test_learning_rate_of_a_whole_run(path):
    schedulers, max_epochs = schedule(path)
    counts_iters = any('convert_to_iter_based' in s or not s.get('by_epoch', True) for s in schedulers)
    length = LENGTH if counts_iters else 1
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    training = SimpleNamespace(
        _train_loop=object.__new__(EpochBasedTrainLoop),
        train_dataloader=range(length),
        max_epochs=max_epochs,
        max_iters=max_epochs * length,
        logger=MMLogger.get_current_instance(),
    )
    built = Runner._build_param_scheduler(training, schedulers, optimizer)
    rates, expected = [], []
    for epoch in range(max_epochs):
        for step in range(epoch * length, (epoch + 1) * length):
            rates.append(optimizer.param_groups[0]['lr'])
            expected.append(RATES[f'{path.parent.name}/{path.stem}'](epoch, step))
            optimizer.step()
            step_all(built, by_epoch=False)
        step_all(built, by_epoch=True)
    np.testing.assert_allclose(rates, expected, rtol=1e-9, atol=1e-12)


def step_all(schedulers: list, by_epoch: bool) -> None:
    for scheduler in schedulers:
        if scheduler.by_epoch is by_epoch:
            scheduler.step()


def test_every_schedule_is_in_the_table():
    readable = [path for path in CONFIGS if mmdet_is_usable() or not is_detector(path)]
    known = [schedule(ROOT / f'configs/{name}.py') for name in RATES if ROOT / f'configs/{name}.py' in readable]
    assert [path for path in readable if schedule(path) not in (None, *known)] == []


def test_places_learning_rates():
    cfg = Config.fromfile(ROOT / 'configs/places_lt/ce_r152.py')
    model = torch.nn.ModuleDict(dict(backbone=torch.nn.Linear(1, 1), head=torch.nn.Linear(1, 1)))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    rates = {id(group['params'][0]): group['lr'] for group in wrapper.param_groups}
    assert rates[id(model.backbone.weight)] == pytest.approx(0.001)
    assert rates[id(model.head.weight)] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ('config', 'parameters', 'images_per_gpu'),  # of the authors' networks; batch norm sees the images of a GPU
    [
        ('cifar100_lt/ride_r32', 783_856, 128),
        ('cifar100_lt/ride_r32_6experts', 1_543_888, 128),
        ('cifar100_lt/balpoe_r32', 1_362_064, 128),
        ('cifar100_lt/shike_r32', 1_277_008 - 3 * 64 * 100, 128),  # theirs has the classifiers of both stages
        ('cifar100_lt/lgla_r32', 1_362_064, 128),
        ('imagenet_lt/lgla_r50', 73_778_240, 32),
        ('imagenet_lt/lgla_rx50', 72_258_880, 32),
        ('cifar100_lt/ncl_r32', 3 * 470_004, 64),
        ('cifar100_lt/ncl_plus_r32', 2 * 470_004, 64),
        ('cifar100_lt/tlc_r32', 1_408_784, 128),
        ('cifar100_lt/glmc_r32', 7_484_424, 64),
        ('imagenet_lt/ride_rx50', 42_889_024, 32),
        ('imagenet_lt/ncl_r50', 3 * 25_557_032, 32),
        ('imagenet_lt/sade_rx50', 42_889_024, 32),
        ('imagenet_lt/balpoe_rx50', 72_258_880, 32),
        ('imagenet_lt/mdcs_r50', 43_677_248, 32),
        ('imagenet_lt/tlc_r50', 59_581_504, 32),
        ('inaturalist2018/ride_r50', 76_587_584, 64),
        ('inaturalist2018/balpoe_r50', 117_658_688, 64),
        ('inaturalist2018/lgla_r50', 117_658_688, 64),
        ('places_lt/lgla_r152', 171_543_616, 16),
        ('places_lt/sade_r152', 171_543_616, 16),
    ],
)
def test_experts(config, parameters, images_per_gpu):
    cfg = read_config(ROOT / f'configs/{config}.py')
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert cfg.train_dataloader.batch_size == images_per_gpu
    assert cfg.auto_scale_lr.base_batch_size % images_per_gpu == 0


@pytest.mark.parametrize(
    ('config', 'tau', 'lr', 'weight_decay', 'augment'),
    [
        ('cifar100_lt/lgla_r32', 2.5, 0.1, 2e-4, 'ltmm.CIFARAutoAugment'),
        ('imagenet_lt/lgla_r50', 2.8, 0.025, 5e-4, 'RandAugment'),
        ('imagenet_lt/lgla_rx50', 3.0, 0.025, 5e-4, 'RandAugment'),
        ('inaturalist2018/lgla_r50', 3.0, 0.2, 2e-4, 'RandAugment'),
        ('places_lt/lgla_r152', 2.4, 0.01, 4e-4, 'GaussianBlur'),
    ],
)
def test_lgla_recipes(config, tau, lr, weight_decay, augment):
    cfg = read_config(ROOT / f'configs/{config}.py')
    assert MODELS.build(cfg.model.head.loss).tau == tau
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay, optimizer.nesterov) == (lr, weight_decay, True)
    dataset = cfg.train_dataloader.dataset
    steps = [step.type for step in (dataset.dataset if 'dataset' in dataset else dataset).pipeline]
    assert augment in steps and 'MultiView' not in steps


@pytest.mark.parametrize(
    ('config', 'batch_size', 'lr', 'weight_decay', 'power', 'weight', 'sampler'),
    [
        ('cifar100_lt/glmc_r32', 64, 0.01, 5e-3, 1.2, 4, 'DefaultSampler'),
        ('imagenet_lt/glmc_rx50', 120, 0.1, 2e-4, 1.0, 10, 'ltmm.PowerSampler'),
        ('inaturalist2018/glmc_rx50', 128, 0.1, 1e-4, 1.0, 10, 'ltmm.PowerSampler'),
    ],
)
def test_glmc_recipes(config, batch_size, lr, weight_decay, power, weight, sampler):
    cfg = read_config(ROOT / f'configs/{config}.py')
    optimizer, head = cfg.optim_wrapper.optimizer, cfg.model.head
    assert (cfg.train_dataloader.batch_size, optimizer.lr, optimizer.weight_decay) == (batch_size, lr, weight_decay)
    assert not optimizer.get('nesterov') and head.loss.power == power and head.aux_losses[0].weight == weight
    assert BATCH_AUGMENTS.build(cfg.model.train_cfg.augments).sampler['type'] == sampler
    dataset = cfg.train_dataloader.dataset
    (views,) = (step for step in (dataset.get('dataset') or dataset).pipeline if step.type == 'MultiView')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        image = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype='uint8')
        first, second = TRANSFORMS.build(views)(dict(img=image))['img']
    assert first.shape == second.shape and not np.array_equal(first, second)


@pytest.mark.parametrize(
    ('config', 'lr', 'weight_decay', 'alpha', 'operations'),  # of RandAugment, in each view
    [
        ('imagenet_lt/paco_r50', 0.02, 5e-4, 0.05, [[2], []]),
        ('imagenet_lt/paco_rx50', 0.02, 5e-4, 0.05, [[2], []]),
        ('imagenet_lt/gpaco_r50', 0.04, 5e-4, 0.045, [[2], [2]]),
        ('imagenet_lt/gpaco_rx50', 0.06, 5e-4, 0.05, [[3], [3]]),
        ('inaturalist2018/paco_r50', 0.02, 1e-4, 0.05, [[2], []]),
        ('inaturalist2018/gpaco_r50', 0.04, 1e-4, 0.05, [[2], []]),
        ('places_lt/paco_r152', 0.02, 5e-4, 0.02, [[], []]),
        ('places_lt/gpaco_r152', 0.02, 5e-4, 0.02, [[], []]),
    ],
)
def test_paco_recipes(config, lr, weight_decay, alpha, operations):
    cfg = read_config(ROOT / f'configs/{config}.py')
    loss = MODELS.build(cfg.model.head.loss)
    is_paco = config.split('/')[1].startswith('paco')
    assert (type(loss).__name__, loss.alpha) == ('PaCoLoss' if is_paco else 'GPaCoLoss', alpha)
    assert (loss.temperature, len(loss.queue.labels), loss.projector[-1].out_features) == (0.2, 8192, 128)
    assert cfg.model.type == ('ltmm.MomentumClassifier' if is_paco else 'ltmm.PerViewClassifier')
    assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay) == (lr, weight_decay)
    (views,) = (step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'MultiView')
    each_view = [view for view, num in zip(views.transforms, views.num_views) for _ in range(num)]
    assert [[*values(view, 'num_policies')] for view in each_view] == operations
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        seen = TRANSFORMS.build(views)(
            dict(img=np.random.default_rng(0).integers(256, size=(300, 260, 3), dtype='uint8'))
        )
    assert [image.shape for image in seen['img']] == [(224, 224, 3)] * 2


@pytest.mark.parametrize('config', ['imagenet_lt/ce_r10', 'imagenet_lt/ce_rx50'])
def test_residual_branches_do_not_start_at_zero(config):
    backbone = read_config(ROOT / f'configs/{config}.py').model.backbone
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        network = MODELS.build(backbone)
    network.init_weights()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all((norm.weight == 1).all() for norm in norms)


TIMM_LEVELS = {  # of rand-n2-m10-mstd0.5, from the level in [0, 10]
    'Rotate': lambda level: level / 10 * 30,
    'Posterize': lambda level: int(level / 10 * 4),
    'Solarize': lambda level: level / 10 * 256,
    'SolarizeAdd': lambda level: level / 10 * 110,
    **dict.fromkeys(('ColorTransform', 'Contrast', 'Brightness', 'Sharpness'), lambda level: level / 10 * 1.8 + 0.1),
    'Shear': lambda level: level / 10 * 0.3,
    'Translate': lambda level: level / 10 * 0.45,
    **dict.fromkeys(('AutoContrast', 'Equalize', 'Invert')),
}


BCL_VIEWS = dict(  # RandAugment and blur in the view of the classifier and in the two that are contrasted
    bcl_r50=[(1, 0), (0, 1), (0, 1)],
    bcl_rx50=[(1, 0), (0, 1), (0, 1)],
    bcl_rx50_sim_rand=[(1, 0), (1, 1), (0, 1)],
    bcl_rx50_rand_rand=[(1, 0), (1, 1), (1, 1)],
)


@pytest.mark.parametrize('config', BCL_VIEWS)
def test_views_of_bcl_on_photos(config):
    cfg = read_config(ROOT / f'configs/imagenet_lt/{config}.py')
    (views,) = (step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'MultiView')
    kinds = [[step.type for step in view] for view in views.transforms]
    counted = [(kind.count('RandAugment'), kind.count('GaussianBlur')) for kind in kinds]
    assert [pair for pair, times in zip(counted, views.num_views) for _ in range(times)] == BCL_VIEWS[config]
    assert all(kind[-1] == 'RandAugment' for kind in kinds if 'RandAugment' in kind)
    assert ('groups' in cfg.model.backbone) == config.startswith('bcl_rx50')


@pytest.mark.parametrize('config', ['imagenet_lt/mdcs_rx50', 'imagenet_lt/bcl_rx50', 'places_lt/mdcs_r152'])
def test_strong_views_of_photos(config):
    dataset = read_config(ROOT / f'configs/{config}.py').train_dataloader.dataset
    (views,) = (step for step in dataset.pipeline if step.type == 'MultiView')
    (augment,) = (step for view in views.transforms for step in view if step.type == 'RandAugment')
    assert (augment.num_policies, augment.magnitude_level, augment.magnitude_std) == (2, 10, 0.5)
    names = [policy.type for policy in augment.policies]
    assert sorted(names) == sorted([*TIMM_LEVELS, 'Shear', 'Translate'])  # these two in both directions
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        operations = [TRANSFORMS.build(dict(policy, magnitude_level=0)) for policy in augment.policies]
    for name, operation in zip(names, operations):
        assert operation.prob == 0.5
        for level in (0.0, 5.0, 8.7, 9.99, 10.0) if TIMM_LEVELS[name] else ():
            operation.magnitude_level = level
            got = operation.random_magnitude()
            if name == 'Posterize':
                got = math.ceil(got)
            elif operation.magnitude_range[0] < 0:
                got = 1 + operation.random_negative(got)
            assert got == pytest.approx(TIMM_LEVELS[name](level)), (name, level)


@pytest.mark.parametrize(
    ('config', 'smallest'),
    [('imagenet_lt/sade_tta_rx50', 0.2), ('places_lt/sade_tta_r152', 0.2), ('inaturalist2018/sade_tta_r50', 0.08)],
)
def test_crops_of_sade_at_test_time(config, smallest):
    (views,) = (step for step in read_config(ROOT / f'configs/{config}.py').test_cfg.pipeline if 'transforms' in step)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert TRANSFORMS.build(views.transforms[0][0]).crop_ratio_range == (smallest, 1.0)


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


@pytest.mark.parametrize(
    ('folder', 'layer_decay'), [('imagenet_lt', 0.75), ('inaturalist2018', 0.65), ('places_lt', 0.65)]
)
def test_livt_optimizer(folder, layer_decay):
    """Rates and drop path of the authors' runs at 224 px."""
    cfg = read_config(ROOT / f'configs/{folder}/livt_vit-base-p16.py')
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == layer_decay
    assert cfg.optim_wrapper.optimizer.betas == (0.9, 0.999)
    assert cfg.model.backbone.drop_path_rate == 0.1

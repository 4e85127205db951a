"""Recipes of the detection configs; test_configs.py builds them."""

import json

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from toy import ROOT, read_config, readme_options
from toy_lvis import lvis_content

from ltmm import ClassDistribution
from ltmm.engine.stages import read_stages
from ltmm.models.accepts import check_losses
from ltmm.models.losses import DetectionLoss
from ltmm.registry import MODELS
from ltmm.utils.parsers import common_parser

CONFIGS = sorted(path for folder in ('lvis', 'foda_lt') for path in (ROOT / 'configs' / folder).glob('*.py'))
EACH = pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)


@EACH
def test_hooks_data_and_metric(path):
    cfg = read_config(path)
    hooks = read_config(ROOT / 'configs/_base_/default_runtime.py').custom_hooks
    assert cfg.custom_hooks[: len(hooks)] == hooks
    assert cfg.default_hooks.checkpoint.type == 'ltmm.SafeCheckpointHook'
    assert cfg.default_scope == 'mmdet'
    assert cfg.train_dataloader.dataset.type in ('ltmm.LVISDataset', 'ltmm.SmoothTailDataset')
    assert cfg.test_dataloader.dataset.type == 'ltmm.LVISDataset'
    assert cfg.val_evaluator == cfg.test_evaluator and cfg.test_evaluator.type == 'ltmm.LVISMetric'
    assert not cfg.train_dataloader.get('persistent_workers')


@EACH
def test_data_root_from_environment(path, monkeypatch):
    monkeypatch.setenv('LTMM_DATA_ROOT', '/elsewhere')
    cfg = Config.fromfile(path)
    for place in (cfg.train_dataloader.dataset, cfg.test_dataloader.dataset):
        assert place.data_root.startswith('/elsewhere/')
    assert cfg.test_evaluator.ann_file.startswith('/elsewhere/')


def test_eql_recipe_on_lvis():
    cfg, softmax = (Config.fromfile(ROOT / f'configs/lvis/{name}_r50.py').to_dict() for name in ('eql', 'softmax'))
    assert cfg['optim_wrapper']['optimizer']['lr'] == 0.02 and cfg['auto_scale_lr']['base_batch_size'] == 16
    assert cfg['train_cfg']['max_epochs'] == 12 and cfg['param_scheduler'][1]['milestones'] == [8, 11]
    assert cfg['model']['test_cfg']['rcnn']['max_per_img'] == 300
    with DefaultScope.overwrite_default_scope('mmdet'):
        loss = MODELS.build(cfg['model']['roi_head']['bbox_head'].pop('loss_cls'))
    loss.set_class_distribution(ClassDistribution([2000, 109, 110, 1], num_images=99388))  # lambda is 109.3 images
    assert loss.is_tail.tolist() == [0, 1, 0, 1]
    for config in (cfg, softmax):  # nothing else differs
        config['model']['roi_head']['bbox_head'] = None
    assert cfg == softmax


def test_federated_recipe_counts_iterations():
    cfg = read_config(ROOT / 'configs/lvis/federated_r50.py')
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=90000, val_interval=90000)
    warmup, drops = cfg.param_scheduler
    assert warmup == dict(type='LinearLR', start_factor=0.00025, by_epoch=False, begin=0, end=4001)
    assert drops == dict(type='MultiStepLR', begin=0, end=90000, by_epoch=False, milestones=[60000, 80000])
    assert not cfg.default_hooks.checkpoint.by_epoch and not cfg.log_processor.by_epoch
    assert cfg.optim_wrapper.clip_grad == dict(type='value', clip_value=1.0)
    assert cfg.train_dataloader.sampler.type == 'ltmm.RepeatFactorSampler'


def flat(name: str) -> dict:
    return read_config(ROOT / f'configs/lvis/{name}.py').to_dict()


@pytest.mark.parametrize(
    'path', [path for path in CONFIGS if 'r101' in path.stem and 'cascade' not in path.stem], ids=lambda path: path.stem
)
def test_r101_differs_from_r50_in_the_backbone(path):
    r101, r50 = flat(path.stem), flat(path.stem.replace('r101', 'r50'))
    r101 = json.loads(json.dumps(r101).replace('_r101', '_r50'))  # the stages it names
    r50 = json.loads(json.dumps(r50))
    assert r101['model']['backbone'].pop('depth') == 101
    assert r101['model']['backbone'].pop('init_cfg')['checkpoint'] == 'torchvision://resnet101'
    del r50['model']['backbone']['depth'], r50['model']['backbone']['init_cfg']
    assert r101 == r50


@pytest.mark.parametrize('path', [path for path in CONFIGS if path.stem.endswith('_2x_v0.5')], ids=lambda p: p.stem)
def test_v05_recipes(path):
    cfg = flat(path.stem)
    heads = cfg['model']['roi_head']
    assert heads['bbox_head']['num_classes'] == heads['mask_head']['num_classes'] == 1230
    assert cfg['test_evaluator']['ann_file'].endswith('lvis_v0.5/annotations/lvis_v0.5_val.json')
    for split in ('train', 'test'):
        dataset = cfg[f'{split}_dataloader']['dataset']
        assert 'v0.5' in dataset['ann_file'] and dataset['data_prefix'] == dict(img='')
    assert cfg['train_cfg']['max_epochs'] == 24 and cfg['param_scheduler'][1]['milestones'] == [16, 22]


@pytest.mark.parametrize('name', ['eqlv2_r50', 'seesaw_r50_2x', 'rog_r101'])
def test_any_recipe_on_v05(name):
    cfg, v05 = (read_config(ROOT / f'configs/lvis/{x}.py') for x in (name, 'softmax_r50_2x_v0.5'))
    cfg.merge_from_dict(V05)
    assert cfg.train_dataloader.dataset == v05.train_dataloader.dataset
    for key in ('val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator'):
        assert cfg[key] == v05[key]
    assert cfg.model.roi_head.bbox_head.num_classes == cfg.model.roi_head.mask_head.num_classes == 1230


def test_readme_command_for_v05_reads_its_files(tmp_path, monkeypatch):
    content = lvis_content()
    for folder in ('annotations', 'train2017'):
        (tmp_path / 'data/lvis_v0.5' / folder).mkdir(parents=True)
    for image in content['images']:
        (tmp_path / 'data/lvis_v0.5' / image['coco_url'].removeprefix('http://images.cocodataset.org/')).touch()
    for split in ('train', 'val'):
        (tmp_path / f'data/lvis_v0.5/annotations/lvis_v0.5_{split}.json').write_text(json.dumps(content))
    cfg = read_config(ROOT / 'configs/lvis/eqlv2_r50.py')
    monkeypatch.chdir(tmp_path)
    cfg.merge_from_dict(V05)
    with DefaultScope.overwrite_default_scope('mmdet'):
        for loader in (cfg.train_dataloader, cfg.test_dataloader):
            assert len(DATASETS.build(dict(loader.dataset, pipeline=[]))) > 0
        cfg.model.backbone.init_cfg = None
        assert MODELS.build(cfg.model).roi_head.bbox_head.fc_cls.out_features == 1231


V05 = readme_options('configs/lvis/eqlv2_r50.py')
STEPWISE = sorted((ROOT / 'configs/lvis').glob('stepwise_*_stage2.py'))


@pytest.mark.parametrize('version', ['v1', 'v0.5'])
@pytest.mark.parametrize('path', STEPWISE, ids=lambda path: path.stem)
def test_stages_of_stepwise_learning(path, version, tmp_path):
    args = common_parser('').parse_args([str(path), '--work-dir', str(tmp_path)])
    if version == 'v0.5':
        args.cfg_options = {
            key: value for key, value in V05.items() if 'roi_head' not in key or 'mask-rcnn' in path.stem
        }
        if 'mask-rcnn' not in path.stem:
            args.cfg_options['model.bbox_head.num_classes'] = 1230
    stages = read_stages(args)  # checks stage://
    kind = path.stem.removesuffix('_stage2')
    first = 'softmax_r50_2x' if 'mask-rcnn' in kind else f'{kind}_stage0'
    assert [stage.name for stage in stages] == [first, 'exemplar_mining', f'{kind}_stage1', f'{kind}_stage2']
    heads = [stage.cfg.model.get('roi_head', stage.cfg.model).bbox_head for stage in stages]
    assert {head.num_classes for head in heads} == {1230 if version == 'v0.5' else 1203}
    assert {stage.cfg.model.backbone.depth for stage in stages} == {101 if 'r101' in kind else 50}
    for stage in stages:
        train, test = (stage.cfg[f'{split}_dataloader'].dataset for split in ('train', 'test'))
        assert train.ann_file == f'annotations/lvis_{version}_train.json'
        assert test.data_root + test.ann_file == stage.cfg.test_evaluator.ann_file
        assert train.data_root == test.data_root and train.data_root.endswith(f'lvis_{version}/')
        assert stage.cfg.val_dataloader == stage.cfg.test_dataloader
    rates = [stage.cfg.optim_wrapper.optimizer.lr for stage in stages]
    assert rates[2] == pytest.approx(rates[0] / 10) and rates[3] == pytest.approx(rates[0])
    assert [stage.cfg.train_cfg.max_epochs for stage in stages[2:]] == [1, 2]


@pytest.mark.parametrize('name', [path.stem for path in STEPWISE])
def test_trained_parts_of_stepwise_learning(name):
    cfg = Config.fromfile(ROOT / f'configs/lvis/{name}.py')
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        names = [name for name, _ in MODELS.build(cfg.model).named_parameters()]
    (keep,) = (hook.keep for hook in cfg.custom_hooks if hook.type == 'ltmm.FreezeHook')
    assert len(keep) == 2 and all(any(name.startswith(f'{prefix}.') for name in names) for prefix in keep)


def test_24_epochs():
    v1, v05 = flat('softmax_r50_2x'), flat('softmax_r50_2x_v0.5')
    for cfg in (v1, v05):
        for step in cfg['param_scheduler']:
            step.pop('_scope_', None)
    assert v1['param_scheduler'] == v05['param_scheduler'] and v1['train_cfg'] == v05['train_cfg']
    assert flat('seesaw_cascade_r101_2x')['param_scheduler'] == v1['param_scheduler']


def test_tail_of_eql_on_v05():
    loss = flat('eql_r50_2x_v0.5')['model']['roi_head']['bbox_head']['loss_cls']
    loss = MODELS.build(loss)
    loss.set_class_distribution(ClassDistribution([2000, 100, 101], num_images=56740))  # lambda is 100.4 images
    assert loss.is_tail.tolist() == [0, 1, 0]


@pytest.mark.parametrize('name', ['eqlv2_cascade_r50', 'eqlv2_retinanet_r50', 'eqlv2_atss_r50', 'seesaw_r50_2x'])
def test_losses_fit_their_heads(name):
    cfg = Config.fromfile(ROOT / f'configs/lvis/{name}.py').model
    cfg.backbone.update(depth=18, base_channels=8, init_cfg=None)
    cfg.neck.in_channels = [8, 16, 32, 64]
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg)
    check_losses(model)
    losses = [module for module in model.modules() if isinstance(module, DetectionLoss)]
    assert len(losses) == (3 if 'cascade' in name else 1)
    background = 2 if 'seesaw' in name else 1 if 'cascade' in name else 0
    assert {loss.num_columns for loss in losses} == {1203 + background}


@pytest.mark.parametrize('name', ['eql', 'eqlv2'])
def test_losses_fit_deformable_detr(name):
    cfg = Config.fromfile(ROOT / f'configs/lvis/{name}_deformable-detr_r50.py').model
    cfg.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg)
    check_losses(model)
    assert not model.as_two_stage and model.with_box_refine
    assert {branch.out_features for branch in model.bbox_head.cls_branches} == {1203}
    assert len(model.bbox_head.cls_branches) == 6


FC_CLS, FC_REG = 'roi_head.bbox_head.fc_cls', 'roi_head.bbox_head.fc_reg'


@pytest.mark.parametrize(
    'name, trained, new',
    [
        ('crt', (FC_CLS,), FC_CLS),
        ('lws', (f'{FC_CLS}.scale',), f'{FC_CLS}.scale'),
        ('bacl', (FC_CLS,), FC_CLS),
        ('loce', (FC_CLS, FC_REG, 'rpn_head'), None),
    ],
)
def test_second_stage_trains_the_classifier_and_loads_all_that_is_frozen(name, trained, new):
    cfg = read_config(ROOT / f'configs/foda_lt/{name}_faster-rcnn_mobilenetv2.py')
    lvis = read_config(ROOT / f'configs/lvis/{name}_r50.py')
    assert all(stage.type == 'ltmm.TrainStage' for stage in (*cfg.stages, *lvis.stages)) and len(lvis.stages) == 2
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        parameters = [name for name, _ in MODELS.build(cfg.model).named_parameters()]
    hooks = {hook.type: hook for hook in cfg.custom_hooks}
    kept = tuple(hooks['ltmm.FreezeHook'].keep)
    assert set(kept) == set(trained)
    masks = {'roi_head.mask_head'} if name == 'loce' else set()
    assert {*next(h for h in lvis.custom_hooks if h.type == 'ltmm.FreezeHook').keep} == set(trained) | masks
    if 'ltmm.LoadPartsHook' in hooks:
        loaded = tuple(f'{prefix}.' for prefix in hooks['ltmm.LoadPartsHook'].prefixes)
        not_loaded = [name for name in parameters if not name.startswith(loaded)]
        of_lvis = next(hook for hook in lvis.custom_hooks if hook.type == 'ltmm.LoadPartsHook')
        assert {*of_lvis.prefixes} - {'roi_head.mask_head'} == {*hooks['ltmm.LoadPartsHook'].prefixes}
        assert 'roi_head.mask_head' in of_lvis.prefixes or name == 'bacl'  # Faster R-CNN
        assert not_loaded == ([] if new is None else [f'{new}.weight', f'{new}.bias'])
    else:  # all that the first stage has
        assert new in parameters


def test_eql_threshold_on_openimages():
    """The 250th most frequent of the 500 classes has 1,652 boxes; the rarer ones are tail."""
    softmax, eql = (read_config(ROOT / f'configs/openimages/{name}_faster-rcnn_r50.py') for name in ('softmax', 'eql'))
    with DefaultScope.overwrite_default_scope('mmdet'):
        loss = MODELS.build(eql.model.roi_head.bbox_head.pop('loss_cls'))
    loss.set_class_distribution(ClassDistribution([14, 1651, 1652], image_counts=[1, 1, 1], num_images=9))
    assert loss.is_tail.tolist() == [1, 1, 0]
    softmax.model.roi_head.bbox_head = eql.model.roi_head.bbox_head = None
    assert softmax.to_dict() == eql.to_dict()

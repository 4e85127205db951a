"""NorCal, FRACAL and LogN on a trained detector: by hook, by search, and built into its checkpoint."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from toy_detectors import detector_cfg
from toy_lvis import CATEGORY_IDS, CLASSES, coco_content, detector_config, lvis_content, write_lvis

pytest.importorskip('mmcv.ops')

from ltmm import ClassDistribution
from ltmm.engine.post_process import build_post_processor, post_process
from ltmm.models.post_process import fractal_dimensions

pytestmark = pytest.mark.slow

BOX_HEAD = dict(
    type='Shared2FCBBoxHead', in_channels=8, fc_out_channels=16, num_classes=len(CLASSES), reg_class_agnostic=True
)
NORCAL = dict(type='ltmm.NorCal', gamma=0.8)
UNFOLDED = dict(NORCAL, renorm=False)  # of other than box heads: on='logits'
EQL = dict(type='ltmm.EQLLoss', lambda_=0.2)
BIASES = dict(  # what is changed by building it in
    mask={'roi_head.bbox_head.fc_cls.bias'},
    cascade={f'roi_head.bbox_head.{stage}.fc_cls.bias' for stage in range(2)},
    retinanet={'bbox_head.retina_cls.bias'},
    deformable_detr={f'bbox_head.cls_branches.{layer}.bias' for layer in range(2)},  # one layer under several names
)


def config(folder, kind, **overrides) -> Config:
    head = dict(BOX_HEAD, loss_cls=dict(type='CrossEntropyLoss'))
    cfg = detector_config(folder / 'work', folder / 'data', **{'train_cfg.val_interval': 100})
    if kind in ('retinanet', 'deformable_detr'):
        head_type = 'RetinaHead' if kind == 'retinanet' else 'DeformableDETRHead'
        cfg.model = detector_cfg(kind, EQL, type=f'ltmm.{head_type}')
        return cfg
    cfg.model.roi_head.bbox_head = head
    if kind == 'cascade':
        roi_head, rcnn = cfg.model.roi_head, cfg.model.train_cfg.rcnn
        roi_head.update(type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 0.5], bbox_head=[head, head])
        cfg.model.type, cfg.model.train_cfg.rcnn = 'CascadeRCNN', [rcnn, copy.deepcopy(rcnn)]
    cfg.merge_from_dict(overrides)
    return cfg


@pytest.fixture(scope='module', params=list(BIASES))
def trained(request, tmp_path_factory):
    """Folder, kind and checkpoint of a detector that was trained."""
    folder = tmp_path_factory.mktemp(request.param)
    write_lvis(folder / 'data', coco_content())
    Runner.from_cfg(config(folder, request.param)).train()
    return folder, request.param, str(folder / 'work/epoch_1.pth')


def figures_of_test(trained, checkpoint, name, hooks=(), cfg=None):
    """Figures of the boxes by tools/test.py."""
    folder, kind, _ = trained
    cfg = copy.deepcopy(cfg or config(folder, kind))
    cfg.update(work_dir=str(folder / name), load_from=str(checkpoint), experiment_name=f'{kind}_{name}')
    cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
    return Runner.from_cfg(cfg).test()


def test_hook_search_and_written_model_agree(trained, tmp_path):
    folder, kind, checkpoint = trained
    hook = dict(type='ltmm.PostProcessHook', steps=[NORCAL])
    hooked = figures_of_test(trained, checkpoint, 'hooked', [hook])
    processor = build_post_processor(config(folder, kind), checkpoint, NORCAL)
    before, after = processor.evaluate()
    assert before == pytest.approx(figures_of_test(trained, checkpoint, 'plain'))
    assert after == pytest.approx(hooked)
    (path,) = processor.write(tmp_path, 'new')
    assert path == tmp_path / 'new.pth'
    assert figures_of_test(trained, path, 'written') == pytest.approx(hooked)
    content = torch.load(path, weights_only=True)
    own = {f'class_distribution.{name}': x for name, x in content['meta'].get('class_distribution', {}).items()}
    assert ClassDistribution.from_state_dict(content['state_dict'] | own) == processor.distribution
    old = torch.load(checkpoint, weights_only=True)['state_dict']
    changed = {name for name, value in content['state_dict'].items() if not torch.equal(value, old[name])}
    assert content['state_dict'].keys() == old.keys() and changed == BIASES[kind]


def test_correction_that_the_head_cannot_hold_gives_a_config(trained, tmp_path):
    folder, kind, checkpoint = trained
    step = UNFOLDED if kind in ('mask', 'cascade') else dict(NORCAL, on='logits')
    processor = build_post_processor(config(folder, kind), checkpoint, step)
    _, after = processor.evaluate()
    (path,) = processor.write(tmp_path, 'new')
    written = Config.fromfile(path)
    assert figures_of_test(trained, checkpoint, 'config', cfg=written) == pytest.approx(after)


def test_fracal_takes_the_layouts_from_the_annotations(trained, tmp_path):
    folder, kind, checkpoint = trained
    cfg, step = config(folder, kind), dict(type='ltmm.FRACAL')
    hooked = figures_of_test(trained, checkpoint, 'fracal', [dict(type='ltmm.PostProcessHook', steps=[step])])
    processor = build_post_processor(cfg, checkpoint, step)
    files = processor.run(tmp_path, 'new')
    centers, label = processor.train_split().box_centers()
    dimensions = fractal_dimensions(centers, label, len(CLASSES))
    assert processor.step.dimensions.tolist() == dimensions.tolist() and dimensions.max() > 1
    before, after = processor.evaluate()
    assert before == pytest.approx(figures_of_test(trained, checkpoint, 'plain_fracal'))
    assert after == pytest.approx(hooked)
    assert processor.step.fractal_weight == 2  # no search
    assert files == [tmp_path / ('new.pth' if kind in ('mask', 'cascade') else 'new.py')]  # a bias holds a softmax's
    if files[0].suffix == '.pth':
        written = figures_of_test(trained, files[0], 'written_fracal')
    else:
        written = figures_of_test(trained, checkpoint, 'config_fracal', cfg=Config.fromfile(files[0]))
    assert written == pytest.approx(hooked)
    processor.fit(grid=(1, 2, 2), val_images=5)
    assert processor.step.fractal_weight in (1, 2)


def test_logn_of_each_stage(trained, tmp_path):
    folder, kind, checkpoint = trained
    if kind not in ('mask', 'cascade'):
        with pytest.raises(TypeError, match="LogN needs a head that leaves the scores to mmdet's BBoxHead, but got"):
            build_post_processor(config(folder, kind), checkpoint, dict(type='ltmm.LogN'))
        return
    processor = build_post_processor(config(folder, kind), checkpoint, dict(type='ltmm.LogN', num_images=6))
    (path,) = processor.run(tmp_path, 'new')
    step = processor.step
    assert step.mean.shape == step.std.shape == (1 + (kind == 'cascade'), len(CLASSES))
    before, after = processor.evaluate()
    assert before == pytest.approx(figures_of_test(trained, checkpoint, 'plain_logn'))
    hook = dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.LogN', **step.settings())])
    assert after == pytest.approx(figures_of_test(trained, checkpoint, 'logn', [hook]))
    assert after == pytest.approx(figures_of_test(trained, path, 'written_logn'), abs=1e-6)
    fitting = dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.LogN')])
    assert figures_of_test(trained, checkpoint, 'fitted_logn', [fitting]).keys() == after.keys()


def test_logn_counts_nothing_and_keeps_the_model(tmp_path):
    write_lvis(tmp_path / 'data', lvis_content())
    cfg = config(tmp_path, 'mask', **{'model.roi_head.bbox_head.loss_cls': dict(type='ltmm.SeesawLoss')})
    cfg.model.roi_head.bbox_head.type = 'ltmm.Shared2FCBBoxHead'
    Runner.from_cfg(cfg).train()
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    checkpoint = str(tmp_path / 'work/epoch_1.pth')
    cfg.experiment_name = 'infinite'
    processor = build_post_processor(cfg, checkpoint, dict(type='ltmm.LogN'))
    state = {name: value.clone() for name, value in processor.model.state_dict().items()}
    images = []
    processor.model.data_preprocessor.register_forward_hook(
        lambda module, args, out: images.extend(out['data_samples'])
    )
    processor.fit()
    assert len(images) == 8  # one epoch of an endless sampler
    assert all(torch.equal(value, state[name]) for name, value in processor.model.state_dict().items())
    assert processor.model.training and 'loss' not in vars(processor.last_head)  # as before
    cfg.pop('train_dataloader')
    with pytest.raises(ValueError, match='fitted on train_dataloader, which the config lacks'):
        processor.train_split().box_centers()


def test_search_takes_the_best_of_the_grid(trained, tmp_path):
    folder, kind, checkpoint = trained
    files = post_process(
        config(folder, kind), checkpoint, dict(type='ltmm.NorCal'), tmp_path, 'new', search=dict(grid=(0, 1, 3))
    )
    assert files == [tmp_path / 'new.pth']
    processor = build_post_processor(config(folder, kind), checkpoint, dict(type='ltmm.NorCal'))
    processor.fit(grid=(0, 1, 3), val_images=5)
    values = processor.val_split(None, 5).evaluate(processor.step, [0, 0.5, 1])
    assert processor.step.gamma in (0, 0.5, 1)
    processor.fit(grid=(0, 1, 3), val_images=5)
    assert processor.step.gamma == [0, 0.5, 1][values.index(max(values))]
    passes = []
    processor.model.data_preprocessor.register_forward_pre_hook(lambda *args: passes.append(args))
    with pytest.raises(ValueError, match="Expected `objective` to be one of .*'bbox_APr'.*, but got 'top1'"):
        processor.fit(grid=(0, 1, 2), objective='top1')
    assert not passes  # before any image
    with pytest.raises(ValueError, match='objects of the classes in bbox_APl, but there are none.* such as bbox_AP[.]'):
        processor.fit(grid=(0, 1, 2), objective='bbox_APl', val_images=5)
    with pytest.raises(ValueError, match='val_dataloader is the test set'):
        processor.fit(val_split='val')


@pytest.mark.parametrize('with_lvis', [False, True])
def test_search_with_the_metric_of_coco(trained, tmp_path, monkeypatch, with_lvis):
    folder, kind, checkpoint = trained
    cfg = config(folder, kind)
    coco = dict(type='mmdet.CocoMetric', ann_file=cfg.test_evaluator.ann_file, outfile_prefix=str(tmp_path / 'found'))
    cfg.test_evaluator = [coco, cfg.test_evaluator] if with_lvis else coco
    processor = build_post_processor(cfg, checkpoint, dict(type='ltmm.NorCal'))
    before, after = processor.evaluate()
    assert before.keys() == after.keys() and 'coco/bbox_mAP' in before
    assert ('lvis/bbox_APr' in before) == with_lvis and not list(tmp_path.iterdir())
    split, objects = processor.val_split('train', 5), lvis_content()['annotations']

    def batches():
        for batch in split.loader:
            for sample in batch['data_samples']:
                own = [ann for ann in objects if ann['image_id'] == sample.img_id]
                boxes = torch.tensor([ann['bbox'] for ann in own]).float().reshape(-1, 4)
                labels = torch.tensor([CATEGORY_IDS.index(ann['category_id']) for ann in own], dtype=torch.long)
                boxes[:, 2:] += boxes[:, :2]
                sample.pred_instances = InstanceData(bboxes=boxes, scores=torch.ones(len(own)), labels=labels)
            samples = batch['data_samples']
            yield batch, samples, lambda found=[sample.pred_instances for sample in samples]: found

    monkeypatch.setattr(split, '_batches', batches)
    assert split.evaluate(processor.step, [0, 1]) == pytest.approx([100, 100])  # of 5 images; CocoMetric's are all 8


@pytest.mark.parametrize('split, num_images', [(None, None), ('holdout', 3), ('train', None), ('train', 5)])
def test_images_of_a_search_with_a_holdout(holdout, split, num_images):
    cfg, checkpoint, trained = holdout
    processor = build_post_processor(copy.deepcopy(cfg), checkpoint, dict(type='ltmm.NorCal'))
    val = processor.val_split(split, num_images)
    processor.step.fit(None, val)
    found = image_ids(val.loader.dataset)
    assert found <= trained if split == 'train' else not found & trained
    assert len(found) == (num_images or (len(trained) if split == 'train' else 30 - len(trained)))


@pytest.fixture(scope='module')
def holdout(tmp_path_factory):
    """Config, checkpoint and training images of a detector trained on a part of filtered data."""
    folder, content = tmp_path_factory.mktemp('holdout'), lvis_content(40)
    kept = [ann for ann in content['annotations'] if ann['image_id'] % 4]  # every fourth image has no object
    write_lvis(folder / 'data', dict(content, annotations=kept))
    cfg = config(folder, 'mask')
    dataset = dict(cfg.train_dataloader.dataset, filter_cfg=dict(filter_empty_gt=True))
    part = dict(type='ltmm.Holdout', part='train', per_class=0.2, dataset=dataset)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=part)
    runner = Runner.from_cfg(copy.deepcopy(cfg))
    runner.train()
    return cfg, str(folder / 'work/epoch_1.pth'), image_ids(runner.train_dataloader.dataset.dataset)


def image_ids(dataset) -> set[int]:
    return {dataset.get_data_info(i)['img_id'] for i in range(len(dataset))}


def test_correction_of_classifiers_is_refused(trained):
    folder, kind, checkpoint = trained
    with pytest.raises(TypeError, match='TauNorm needs a classifier .* but got'):
        build_post_processor(config(folder, kind), checkpoint, dict(type='ltmm.TauNorm'))
    hook = dict(type='ltmm.PostProcessHook', steps=[NORCAL, dict(type='ltmm.TemperatureScaling', temperature=2.0)])
    with pytest.raises(TypeError, match='TemperatureScaling needs a classifier'):
        figures_of_test(trained, checkpoint, 'mixed', [hook])

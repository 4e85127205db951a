"""Configs with stages name stages, parts and layers that exist."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ltmm.engine.post_process.validation_data import validation_dataset
from ltmm.engine.stages import PostProcessStage, PretrainStage, TeacherStage, TrainStage, read_stages
from ltmm.models.post_process import PostProcess
from ltmm.registry import MODELS
from ltmm.utils.parsers import common_parser

ROOT = Path(__file__).parents[2]
STAGED = [
    path
    for path in sorted((ROOT / 'configs').glob('*/*.py'))
    if path.parent.name not in ('_base_', 'foda_lt', 'lvis') and 'stages' in Config.fromfile(path)
]
PLAIN = ('glmc', 'gml', 'los', 'ride', 'shike', 'super', 'weight')  # all images alike
SAMPLERS = dict.fromkeys(PLAIN, 'DefaultSampler') | dict(balms='ltmm.MetaSampler')
LFME = [path for path in STAGED if path.stem.startswith('lfme')]
LIVT = [path for path in STAGED if path.stem.startswith('livt')]
CONTRASTIVE = [path for path in STAGED if path.stem.startswith(('supcon', 'kcl', 'sbcl'))]
PRETRAINED = [path for path in STAGED if Config.fromfile(path).stages[0].type == 'ltmm.PretrainStage']
OTHERS = (
    LFME
    + LIVT
    + PRETRAINED
    + CONTRASTIVE
    + [path for path in STAGED if path.stem.startswith(('ride_distill', 'sade_tta', 'pseudo_label'))]
)


def model_of(cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('path', [pytest.param(p, id=f'{p.parent.name}/{p.stem}') for p in STAGED if p not in OTHERS])
def test_last_stage_starts_from_the_one_before(path, tmp_path):
    before, last = read_stages(common_parser('').parse_args([str(path), '--work-dir', str(tmp_path)]))
    assert type(before) is TrainStage
    names = {name for name, _ in model_of(before.cfg).named_parameters()}
    if isinstance(last, PostProcessStage):
        assert Config.fromfile(path).train_dataloader is None
        assert isinstance(MODELS.build(last.step), PostProcess)
        if last.search is not None:
            validation_dataset(last.cfg, last.search.get('val_split'))  # finds data to search on
        return
    renames = [pair for hook in last.cfg.custom_hooks for pair in hook.get('rename', {}).items()]
    renamed = {new + n.removeprefix(old) for old, new in renames for n in names if n.startswith(old + '.')}
    own = {name for name, _ in model_of(last.cfg).named_parameters()}
    frozen = [prefix for hook in last.cfg.custom_hooks for prefix in hook.get('prefixes', [])]
    for prefix in frozen:
        held = {name for name in own if name == prefix or name.startswith(prefix + '.')}
        assert held and held <= names | renamed  # the checkpoint has all that is frozen or loaded
    for hook in last.cfg.custom_hooks:
        for old, new in hook.get('rename', {}).items():
            loaded = {new + name.removeprefix(old) for name in names if name.startswith(old + '.')}
            assert loaded and loaded <= own
    sampler = SAMPLERS.get(path.stem.split('_')[0], 'ltmm.ClassAwareSampler')
    assert last.cfg.train_dataloader.sampler.type == sampler
    assert not all(name.startswith(tuple(frozen)) for name in own)  # something is left to train


@pytest.mark.parametrize('path', [pytest.param(p, id=f'{p.parent.name}/{p.stem}') for p in LIVT])
def test_livt_fine_tunes_the_pre_trained_encoder(path, tmp_path):
    stages = read_stages(common_parser('').parse_args([str(path), '--work-dir', str(tmp_path)]))
    with torch.device('meta'):
        before, last = ({n: p.shape for n, p in model_of(stage.cfg).named_parameters()} for stage in stages)
    assert {n for n in last if n.startswith('backbone.')} - before.keys() == {
        'backbone.ln2.weight',
        'backbone.ln2.bias',
    }
    differing = {name for name in last if name in before and last[name] != before[name]}
    assert differing == ({'backbone.pos_embed'} if path.parent.name == 'inaturalist2018' else set())  # 128, then 224 px
    data = [stage.cfg.train_dataloader.dataset for stage in stages]
    assert data[0].type == data[1].type
    assert all(a == b for a, b in zip(*(stage.cfg.data_preprocessor.mean for stage in stages)))
    loading = [hook for hook in stages[1].cfg.custom_hooks if hook.type == 'ltmm.LoadPartsHook']
    assert [hook.prefixes for hook in loading] == [['backbone']]


@pytest.mark.parametrize('path', [pytest.param(p, id=f'{p.parent.name}/{p.stem}') for p in CONTRASTIVE])
def test_contrastive_pre_training(path, tmp_path, monkeypatch):
    """Each stage goes on with all that the next one has; the last has a new classifier on a frozen backbone."""
    stages = read_stages(common_parser('').parse_args([str(path), '--work-dir', str(tmp_path)]))
    assert len(stages) == 2 + (path.stem == 'sbcl_r50')
    for layer in (_ConvNd, nn.Linear):  # drawing weights takes most of the time
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)
    *pre, last = ({n: p.shape for n, p in model_of(stage.cfg).named_parameters()} for stage in stages)
    assert all(names == pre[0] for names in pre)
    frozen = {n for n in last if n.startswith('backbone.')}
    assert frozen == {n for n in pre[-1] if n.startswith('backbone.')} and last.keys() - frozen <= {
        'head.fc.weight',
        'head.fc.bias',
    }
    hooks = {hook.type: hook for hook in stages[-1].cfg.custom_hooks}
    assert hooks['ltmm.LoadPartsHook'].prefixes == hooks['ltmm.FreezeHook'].prefixes == ['backbone']
    assert hooks['ltmm.FreezeHook'].norm_eval and not stages[-1].cfg.optim_wrapper.optimizer.weight_decay
    for stage in stages[:-1]:  # sub-classes need the test loader, and nothing can be validated
        assert stage.cfg.val_dataloader is None and stage.cfg.test_dataloader.collate_fn.type == 'default_collate'
    sampler = stages[-1].cfg.train_dataloader.sampler.type
    is_ldam = stages[-1].cfg.model.head.loss.type == 'ltmm.ReweightedLoss'
    assert sampler == ('DefaultSampler' if is_ldam else 'ltmm.ClassAwareSampler')


def test_pseudo_labels_are_of_the_images_of_the_last_stage(tmp_path):
    path = ROOT / 'configs/cifar100_lt_semi/pseudo_label_r32.py'
    before, labeling, last = read_stages(common_parser('').parse_args([str(path), '--work-dir', str(tmp_path)]))
    dataset = last.cfg.train_dataloader.dataset
    assert labeling.unlabeled == dataset.unlabeled and dataset.pseudo_labels == f'stage://{labeling.name}'
    assert labeling.cfg.model == before.cfg.model and labeling.next_checkpoint(before.result) is None
    assert {**before.cfg.train_dataloader.dataset, 'include_labeled': False} == dataset.labeled  # the same images


@pytest.mark.parametrize('path', [pytest.param(p, id=f'{p.parent.name}/{p.stem}') for p in LFME])
def test_lfme_learns_from_experts_of_its_network(path, tmp_path, monkeypatch):
    *experts, student = read_stages(common_parser('').parse_args([str(path), '--work-dir', str(tmp_path)]))
    assert [type(stage) for stage in experts] == [TeacherStage] * 3 and type(student) is TrainStage
    widths = [stage.cfg.model.head.num_classes for stage in experts]
    assert sum(widths) == student.cfg.model.head.num_classes
    val, test = (student.cfg[f'{split}_dataloader'].dataset for split in ('val', 'test'))
    assert val != test and val.get('split', val.get('dataset', {}).get('split')) in ('train', 'val')
    for layer in (_ConvNd, nn.Linear):  # drawing weights takes most of the time
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)
    teachers = model_of(student.cfg)._teachers
    for stage, group, teacher in zip(experts, ('many', 'medium', 'few'), teachers, strict=True):
        own = student.cfg.model.teachers[group]
        assert own == dict(num_classes=stage.cfg.model.head.num_classes, checkpoint=f'stage://{group}')
        expert = model_of(stage.cfg).named_parameters()
        assert {n: p.shape for n, p in expert} == {n: p.shape for n, p in teacher.named_parameters()}
        dataset = stage.cfg.train_dataloader.dataset
        assert dataset.group == stage.cfg.val_dataloader.dataset.group == group
        assert dataset.dataset == student.cfg.train_dataloader.dataset
        assert stage.cfg.val_dataloader.dataset.dataset == val


@pytest.mark.parametrize('path', [pytest.param(p, id=f'{p.parent.name}/{p.stem}') for p in PRETRAINED])
def test_pre_trained_backbone_fits_the_next_stage(path, tmp_path, monkeypatch):
    for layer in (_ConvNd, nn.Linear):  # drawing weights takes most of the time
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)
    before, after, *_ = read_stages(common_parser('').parse_args([str(path), '--work-dir', str(tmp_path)]))
    assert type(before) is PretrainStage and type(after) is TrainStage
    loading = [hook for hook in after.cfg.custom_hooks if hook.type == 'ltmm.LoadPartsHook']
    assert [hook.prefixes for hook in loading] == [['backbone']]
    first, second = (
        {name: x.shape for name, x in model_of(stage.cfg).state_dict().items() if name.startswith('backbone.')}
        for stage in (before, after)
    )
    assert first and first == second  # with the statistics of batch norm
    assert list(before.cfg.data_preprocessor.mean) == list(after.cfg.data_preprocessor.mean)

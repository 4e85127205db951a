"""LFME through its stages: three experts, then the student; resumed in any stage."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from toy import toy_config
from toy_stages import run, run_and_stop

from ltmm.engine.runner.model_outputs import build_test_loader
from ltmm.engine.stages import read_stages
from ltmm.registry import MODELS
from ltmm.utils.checkpoints import load_whole
from ltmm.utils.configs import use_amp
from ltmm.utils.parsers import common_parser

COUNTS = [40, 30, 16, 14, 8, 6]
GROUPS = dict(thresholds=(30, 10))  # two classes in each group
EPOCHS = 3  # of the student, with 15 iterations; 2 of the experts, with 9, 4 and 2


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    cfg = toy_config('', **{'train_cfg.max_epochs': 2, 'model.head.loss': dict(type='CrossEntropyLoss')})
    cfg.pop('work_dir'), cfg.pop('experiment_name')
    cfg.default_hooks.checkpoint.max_keep_ckpts = 4
    cfg.param_scheduler = None
    train, val = (dict(cfg[f'{split}_dataloader'].dataset, counts=COUNTS) for split in ('train', 'val'))
    stages, teachers = [], {}
    for group in ('many', 'medium', 'few'):
        expert = copy.deepcopy(cfg)
        subset = dict(type='ltmm.ClassSubset', group=group, counts_of=train, **GROUPS)
        expert.train_dataloader.dataset, expert.val_dataloader.dataset = (dict(subset, dataset=d) for d in (train, val))
        expert.test_dataloader.dataset = expert.val_dataloader.dataset
        expert.optim_wrapper.optimizer.lr = 0.01  # less sure, so that images differ
        expert.model.head.num_classes = expert.model.data_preprocessor.num_classes = 2
        expert.dump(folder / f'{group}.py')
        stages.append(dict(type='ltmm.TeacherStage', config=str(folder / f'{group}.py'), name=group))
        teachers[group] = dict(num_classes=2, checkpoint=f'stage://{group}')
    cfg.model.update(type='ltmm.LFMEClassifier', teachers=teachers)
    cfg.model.head.num_classes, cfg.model.head.loss = 6, dict(type='ltmm.LFMELoss', **GROUPS)
    cfg.model.data_preprocessor.num_classes = 6
    cfg.train_dataloader.dataset, cfg.train_dataloader.sampler = train, dict(type='ltmm.ClassAwareSampler')
    cfg.val_dataloader.dataset = cfg.test_dataloader.dataset = val
    metric = dict(type='ltmm.LongTailMetric', convention='oltr', topk=(1,), **GROUPS)
    cfg.val_evaluator, cfg.test_evaluator = [metric, dict(type='ltmm.TeacherMetric')], metric
    cfg.train_cfg = dict(by_epoch=True, max_epochs=EPOCHS, val_interval=1)
    cfg.stages = [*stages, dict(type='ltmm.TrainStage')]
    cfg.dump(folder / 'lfme.py')
    return folder / 'lfme.py'


def state(path) -> dict:
    return torch.load(path, weights_only=True)['state_dict']


def expert_of(work_dir, group):
    (folder,) = work_dir.glob(f'stage*_{group}')
    return folder / 'epoch_2.pth'


@pytest.fixture(scope='module')
def straight(config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('straight')
    return run(config, work_dir), work_dir


def test_state_of_the_student(straight):
    last, work_dir = straight
    student = state(last)
    weights = student['head.loss_module.curriculum.values'].split(COUNTS)
    for label, of_class in enumerate(weights):
        lowest = [12 / 230, 12 / 53, 1][label // 2]
        assert [of_class.min().item(), of_class.max().item()] == pytest.approx([lowest, 1])
    assert not (student['head.loss_module.expert_weight'] == 1).all()  # the student has been compared with the experts
    experts = [state(expert_of(work_dir, group)) for group in ('many', 'medium', 'few')]
    starts = [expert['backbone.conv1.weight'] for expert in experts]
    assert all(expert['head.fc.weight'].shape == (2, 8) for expert in experts) and not torch.equal(*starts[:2])


def test_weights_of_images_by_hand(config, straight):
    """From the confidence of the trained experts on the images without augmentation."""
    last, work_dir = straight
    cfg = read_stages(common_parser('').parse_args([str(config), '--work-dir', str(work_dir)]))[1].cfg  # medium
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model).eval()
        loader = build_test_loader(cfg, cfg.train_dataloader.dataset)
    load_whole(model, str(expert_of(work_dir, 'medium')))
    samples = [sample for batch in loader for sample in model.test_step(batch)]
    confidence = torch.stack([sample.pred_score[sample.gt_label.item()] for sample in samples]).split(COUNTS[2:4])
    expected = [12 / 53 + (1 - 12 / 53) * (p - p.min()) / (p.max() - p.min()) for p in confidence]
    weights = state(last)['head.loss_module.curriculum.values'].split(COUNTS)
    torch.testing.assert_close([w.float() for w in weights[2:4]], expected)


@pytest.mark.slow
@pytest.mark.parametrize('stage, at_iter', [(4, 16), (2, 6)])
def test_resume_in_any_stage_is_exact(config, straight, tmp_path, stage, at_iter):
    """In the second epoch of the student, and of the second expert."""

    run_and_stop(config, tmp_path, stage, at_iter)
    torch.testing.assert_close(state(run(config, tmp_path)), state(straight[0]), rtol=0, atol=0)


@pytest.mark.slow
def test_mixed_precision(config, straight, tmp_path):
    cfg = Config.fromfile(config)
    for group, teacher in cfg.model.teachers.items():
        teacher.checkpoint = str(expert_of(straight[1], group))
    cfg.pop('stages')
    cfg.work_dir, cfg.experiment_name = str(tmp_path), 'amp'
    use_amp(cfg)
    model = Runner.from_cfg(cfg).train()
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert model.objective.expert_weight.dtype == torch.float64

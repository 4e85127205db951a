import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner import Runner
from toy import toy_config
from toy_processes import run_tool

from ltmm.datasets import FeatureDataset

LONG_TAILED_VAL = ('--cfg-options', 'val_dataloader.dataset.counts=(12,6,3)')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A config file and a checkpoint."""
    folder = tmp_path_factory.mktemp('trained')
    cfg = toy_config(folder, **{'model.head.loss': dict(type='CrossEntropyLoss'), 'train_cfg.max_epochs': 1})
    cfg.train_dataloader.dataset = ConfigDict(
        type='ltmm.LongTailed', imbalance_factor=4, dataset={**cfg.train_dataloader.dataset, 'counts': (24, 24, 24)}
    )
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,))
    Runner.from_cfg(cfg).train()
    cfg.dump(folder / 'cfg.py')
    return folder / 'cfg.py', folder / 'epoch_1.pth'


def test_search_prints_both_tables_and_writes_a_checkpoint(trained, tmp_path):
    args = ('--method', 'tau_norm', '--grid', '0:2:5', '--val-images', '6', '--out', tmp_path)
    run = run_tool('tools/post_process.py', *trained, *args, '--work-dir', tmp_path / 'work')
    assert run.returncode == 0, run.stderr[-2000:]
    assert '12 validation images; 1 classes have none and do not count' in run.stdout
    rows = [line.split() for line in run.stdout.splitlines()]
    assert [row[0] for row in rows if row[:1] in (['0'], ['0.5'], ['1.5'])] == ['0', '0.5', '1.5']
    after = next(line for line in run.stdout.splitlines() if line.startswith('TauNorm(tau='))
    assert len(after.split()) == 7
    assert torch.load(tmp_path / 'epoch_1_tau_norm.pth', weights_only=True)['meta']['post_process']['type'] == 'TauNorm'


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--method', 'tau_norm', '--val-split', 'val'), 'val_dataloader is the test set. Use val_split='),
        (('--method', 'tau_norm', '--strength', '-1'), 'Expected `tau` to be >= 0, but got -1.0'),
        (('--method', 'ncm', '--strength', '1'), '--strength needs a method with a strength'),
        (('--method', 'tau_norm', '--transform', 'un'), '--transform belongs to --method ncm'),
        (('--method', 'norcal', '--num-images', '9'), '--num-images belongs to --method logn'),
        (('--method', 'logn', '--strength', '2'), '--strength needs a method with a strength'),
        (('--method', 'logn', '--val-images', '9'), '--val-images belongs to --method conformal or ets or'),
        (('--method', 'iwts', '--class-share', '1'), '--class-share belongs to --method conformal'),
        (
            ('--method', 'iwts'),
            'expected validation data with the class mix of the training data',
        ),
        (('--method', 'conformal', '--alpha', '0'), 'Expected `alpha` to be in (0, 1), but got 0.0'),
        (
            ('--method', 'ets', '--grid', '1:2:3'),
            '--grid belongs to --method fracal or logit_adjustment or norcal or tau_norm or',
        ),
        (('--method', 'ncm', '--val-images', '3'), '--val-images belongs to --method conformal or ets or'),
        (('--method', 'iwts', '--strength', '2', '--alpha', '1'), '--strength leaves nothing to fit with --alpha'),
        (
            ('--method', 'tau_norm', '--strength', '2', '--grid', '1:2:3'),
            'leaves nothing to fit with --grid',
        ),
        (
            ('--method', 'fracal', '--objective', 'bbox_APr'),
            'fracal searches only with --grid: give it, or leave out --objective',
        ),
        (('--method', 'gla'), '--method gla needs --zero-shot VAL TEST'),
        (('--method', 'gla', '--zero-shot', 'no.npy', 'no.npy'), 'no.npy is no readable .npy or .npz file of logits'),
        (('--method', 'tau_norm', '--grid', '0:2'), 'Expected --grid to be FIRST:LAST:HOW_MANY, but got 0:2'),
        (('--method', 'tau_norm', '--grid', '0:1:0'), 'Expected --grid to be FIRST:LAST:HOW_MANY, but got 0:1:0'),
        (('--method', 'tau_norm', '--grid', 'nan:1:3'), 'Expected `tau` to be >= 0, but got nan'),
        (('--method', 'tau_norm', '--out', __file__), '--out takes a folder, but '),
        (
            ('--method', 'tau_norm', '--val-images', '0'),
            'argument --val-images: expected a whole number >= 1, but got 0',
        ),
    ],
)
@pytest.mark.slow
def test_wrong_options_are_refused_in_one_line(trained, args, message):
    run = run_tool('tools/post_process.py', *trained, *args)
    assert run.returncode != 0 and 'Traceback' not in run.stderr
    assert message in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ('method', 'args', 'settings'),
    [
        ('conformal', ('--alpha', '.2', '--class-share', '.5'), dict(alpha=0.2, class_share=0.5, score='prevalence')),
        ('irovats', (), dict(per_class=True, after_temperature=True)),
        ('iwts', ('--head-classes', '0,2', *LONG_TAILED_VAL), dict(head_classes=[0, 2])),
    ],
)
@pytest.mark.slow
def test_options_reach_the_correction(trained, tmp_path, method, args, settings):
    args = ('--method', method, *args, '--out', tmp_path, '--work-dir', tmp_path / 'work')
    run = run_tool('tools/post_process.py', *trained, *args)
    assert run.returncode == 0, run.stderr[-2000:]
    meta = torch.load(tmp_path / f'epoch_1_{method}.pth', weights_only=True)['meta']['post_process']
    assert meta.items() >= settings.items()


def test_files_of_logits_take_the_place_of_the_model(trained, tmp_path):
    label = np.arange(3).repeat(8)
    for split, scale in (('val', 2.0), ('test', 3.0)):
        np.savez(tmp_path / f'{split}.npz', logits=scale * np.eye(3)[label], gt_label=label)
    (tmp_path / 'counts.json').write_text('[24, 12, 6]')
    files = ('--logits', tmp_path / 'val.npz', tmp_path / 'test.npz')
    args = (*files, '--class-counts', tmp_path / 'counts.json', '--method', 'conformal', '--out', tmp_path / 'out')
    run = run_tool('tools/post_process.py', *args)
    assert run.returncode == 0, run.stderr[-2000:]
    assert f'Wrote {tmp_path}/out/test_conformal.npz, {tmp_path}/out/test_conformal_coverage.png' in run.stdout


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((), 'expected CONFIG CHECKPOINT, or --logits VAL TEST --class-counts FILE'),
        (('--logits', 'a', 'b'), '--logits needs --class-counts'),
        (('cfg.py', '--logits', 'a', 'b'), 'leave out CONFIG'),
        (('--logits', 'a', 'b', '--val-split', 'val'), 'leave out --val-split'),
        (('--logits', 'a', 'b', '--work-dir', 'c'), 'leave out --work-dir'),
        (('--logits', 'a', 'b', '--amp'), 'leave out --amp'),
        (('--logits', 'a', './a', '--class-counts', 'c.json'), '--logits takes two files'),
        (('--logits', 'a.npz', 'b.npz', '--class-counts', 'c.json'), 'but the file c.json does not exist'),
    ],
)
@pytest.mark.slow
def test_wrong_sources_are_refused_in_one_line(args, message):
    run = run_tool('tools/post_process.py', *args, '--method', 'temperature')
    assert run.returncode != 0 and 'Traceback' not in run.stderr
    assert message in run.stderr.splitlines()[-1]


def test_extracted_features_train_a_classifier(trained, tmp_path):
    folders = ('--out', tmp_path / 'features', '--work-dir', tmp_path / 'work')
    run = run_tool('tools/extract_features.py', *trained, *folders)
    assert run.returncode == 0, run.stderr[-2000:]
    assert f'{tmp_path}/features: train, 42 x 8, 3 classes' in run.stdout
    assert not (tmp_path / 'features/val_features.npy').exists()  # the toy validates on its test set
    assert len(FeatureDataset(str(tmp_path / 'features'), 'train')) == 42
    cfg = toy_config(tmp_path / 'work2', **{'train_cfg.max_epochs': 4, 'optim_wrapper.optimizer.lr': 0.5})
    cfg.model.backbone = dict(type='ltmm.IdentityBackbone')
    cfg.model.data_preprocessor = dict(num_classes=3)
    for split in ('train', 'test', 'val'):
        loader = cfg[f'{split}_dataloader']
        loader.collate_fn = dict(type='ltmm.collate_features')
        on_disk = 'train' if split == 'train' else 'test'
        loader.dataset = dict(
            type='ltmm.FeatureDataset', data_root=str(tmp_path / 'features'), split=on_disk, test_mode=split != 'train'
        )
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.val_loop.run()['accuracy/top1'] > 60

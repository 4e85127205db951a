"""The code of the docs runs as it stands."""

import json
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import ClassBalancedDataset
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image
from toy import ROOT, ToyImages
from toy_docs import Page, config_of, registries_restored
from toy_lvis import lvis_content

from ltmm import ClassDistribution
from ltmm.datasets import class_distribution_of
from ltmm.models.losses import LossInputs
from ltmm.registry import DATA_SAMPLERS, DATASETS, MODELS, STAGES
from ltmm.utils.errors import InputError

COUNTS = [500, 60, 3]
needs_installation = pytest.mark.skipif(
    not (ROOT / 'ltmm/.mim').exists(), reason="'ltmm::' resolves in an installed ltmm only: make install"
)
SCORE, LABEL = torch.randn(4, 3), torch.tensor([0, 1, 2, 2])


@pytest.fixture
def run() -> Iterator[Callable]:
    """Execute the snippets under a heading of docs/extend.md; remove what they register afterwards."""
    with registries_restored():
        yield Page('docs/extend.md').run


def test_loss(run: Callable):
    run('A loss')
    loss = MODELS.build(dict(type='ltmm.InverseFrequencyLoss', class_counts=COUNTS))
    weight = torch.tensor(ClassDistribution(COUNTS).weights('inverse')).float()
    losses = F.cross_entropy(SCORE, LABEL, reduction='none') * weight[LABEL]
    torch.testing.assert_close(loss(SCORE, LABEL), losses.mean())


def test_objectives(run: Callable):
    run('An objective')
    features = torch.randn(4, 5)
    loss = MODELS.build(dict(type='ltmm.FeatureNormLoss', norm=2.0))
    expected = (features.norm(dim=1) - 2).square().mean()
    torch.testing.assert_close(loss(LossInputs(LABEL, features=features))['loss_norm'], expected)
    logits = torch.randn(2, 4, 3)
    loss = MODELS.build(dict(type='ltmm.PriorForAllLoss', class_counts=COUNTS))
    balanced = MODELS.build(dict(type='ltmm.BalancedSoftmaxLoss', class_counts=COUNTS))
    expected = (balanced(logits[0], LABEL) + balanced(logits[1], LABEL)) / 2
    torch.testing.assert_close(loss(LossInputs(LABEL, expert_logits=logits))['loss'], expected)


def test_state(run: Callable):
    run('State')
    loss = MODELS.build(dict(type='ltmm.CenterLoss', num_classes=3, feat_dim=5, warmup_epochs=1))
    inputs = LossInputs(LABEL, features=torch.randn(4, 5))
    for epoch in range(2):
        loss.set_progress(epoch, 2, epoch, 2)
        assert (loss(inputs)['loss_center'] > 0) == (epoch == 1)


def test_sampler(run: Callable):
    run('A sampler')
    sampler = DATA_SAMPLERS.build(dict(type='ltmm.TailOnlySampler', dataset=ToyImages(counts=COUNTS), seed=0))
    assert set(sampler) == {560, 561, 562}


def test_data_set(run: Callable, tmp_path):
    run('A data set')
    lines = [dict(image='a/1.jpg', **{'class': name}) for name in ('owl', 'cat', 'cat')]
    (tmp_path / 'train.jsonl').write_text('\n'.join(map(json.dumps, lines)) + '\n\n')
    config = dict(type='ltmm.JSONLinesDataset', ann_file='train.jsonl', data_root=str(tmp_path), data_prefix='images')
    dataset = DATASETS.build(config)
    assert class_distribution_of(dataset) == ClassDistribution([2, 1], class_names=['cat', 'owl'])
    assert dataset.get_data_info(0)['img_path'] == f'{tmp_path}/images/a/1.jpg'
    assert DATASETS.build(dict(config, metainfo=dict(classes=['owl', 'cat']))).get_cat_ids(0) == [0]
    with pytest.raises(InputError, match="expected classes of .*, but got 'owl'"):
        DATASETS.build(dict(config, metainfo=dict(classes=['cat'])))


def test_stage(run: Callable, tmp_path):
    run('A stage')
    torch.save(dict(state_dict=dict(weight=torch.tensor([0.12345]))), tmp_path / 'last.pth')
    stage = STAGES.get('RoundStage')(cfg=Config(), folder=tmp_path, name='round', decimals=2)
    stage.run(tmp_path / 'last.pth')
    assert stage.is_complete
    torch.testing.assert_close(torch.load(stage.result)['state_dict']['weight'], torch.tensor([0.12]))


def test_correction(run: Callable):
    run('A correction')
    step = MODELS.build(dict(type='ltmm.PowerScaling', power=2.0))
    scores = step(SCORE, None, None).softmax(1)
    torch.testing.assert_close(scores, F.normalize(SCORE.softmax(1) ** 2, p=1, dim=1))


@pytest.fixture
def run_page() -> Iterator[Callable]:
    """Execute all Python snippets of a page but configs; return what they define."""
    with registries_restored():
        yield lambda path: Page(path).run()


def test_class_distribution(run_page: Callable, capsys):
    page = run_page('docs/concepts/class_distribution.md')
    assert capsys.readouterr().out in (ROOT / 'docs/concepts/class_distribution.md').read_text()
    assert page['animals'].empty_classes.tolist() == [5]


def test_contracts(run_page: Callable):
    page = run_page('docs/concepts/contracts.md')
    assert page['loss'].epoch == 9 and all(term.isfinite() for term in page['terms'].values())


def test_partial_labels(run_page: Callable):
    page = run_page('docs/start/partial_labels.md')
    assert page['asl'] > 0 and page['hill'] > 0
    assert page['logits'].grad.abs().sum() > 0


@needs_installation
def test_labels_of_images_from_boxes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = lvis_content()
    content['categories'] += [dict(id=20 + i, name=f'class {i}') for i in range(8)]
    (tmp_path / 'my/images').mkdir(parents=True)
    for image in content['images']:
        image.pop('coco_url')
        image['file_name'] = f'{image["id"]}.png'
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / 'my/images' / image['file_name'])
    for name in ('train', 'val'):
        (tmp_path / f'my/{name}.json').write_text(json.dumps(content))
    cfg = config_of(Page('docs/start/partial_labels.md').config('From files'), tmp_path)
    init_default_scope(cfg.default_scope)
    states = np.stack([x['data_samples'].gt_score for x in DATASETS.build(cfg.train_dataloader.dataset)])
    assert states.shape == (8, 12) and states[:, 0].all() and 1 not in states[:, 4:]
    assert len(DATASETS.build(cfg.test_dataloader.dataset)[0]['data_samples'].gt_score) == 12
    assert MODELS.build(dict(cfg.model.head)).num_classes == cfg.data_preprocessor.num_classes == 12


@needs_installation
def test_configs_of_pages(tmp_path, monkeypatch):
    """Each config is read and its parts are built."""
    monkeypatch.chdir(tmp_path)
    cfg = config_of(Page('docs/start/lvis.md').config('Your own Mask R-CNN'), tmp_path)
    assert cfg.model.roi_head.bbox_head.loss_cls == dict(type='ltmm.EQLv2Loss')
    init_default_scope(cfg.default_scope)
    assert MODELS.build(cfg.model.roi_head.bbox_head).fc_cls.out_features == 1204
    DefaultScope._instance_dict.clear()
    extract = config_of(Page('docs/start/frozen_features.md').config('1. Features'), tmp_path)
    init_default_scope(extract.default_scope)
    assert MODELS.build(extract.model.backbone).out_channel == extract.model.head.in_channels == 1280
    assert extract.train_dataloader.dataset.pipeline[-1].type == 'PackInputs'
    linear = config_of(Page('docs/start/frozen_features.md').config('2. A classifier'), tmp_path)
    assert linear.train_dataloader.dataset == dict(type='ltmm.FeatureDataset', data_root='my/features', split='train')
    assert MODELS.build(linear.model.head).in_channels == 1280
    assert linear.model.head.loss.type == 'ltmm.BalancedSoftmaxLoss'


def test_migration(run_page: Callable):
    page = run_page('docs/migration.md')
    old, new = page['old_loss'].weight, torch.tensor(page['weights']).float()
    torch.testing.assert_close(old / old.mean(), new)
    batch = page['labels'][list(page['new_sampler'])].bincount(minlength=3)
    assert batch[2] > page['labels'].bincount()[2]
    assert next(iter(page['loader']))[1].bincount(minlength=3).min() >= 2
    assert {'top1', 'medium', 'few', 'balanced_accuracy'} <= page['figures'].keys()


@pytest.mark.parametrize(
    'heading, name', [("mmdet's `EQLV2Loss`", 'EQLv2Loss'), ("mmdet's `SeesawLoss`", 'SeesawLoss')]
)
def test_migration_of_box_heads(heading: str, name: str):
    from mmdet.registry import MODELS as MMDET_MODELS

    old, new = Page('docs/migration.md').snippets(heading)
    boxes = []
    for code in (old, new):
        cfg = exec_config(code)['bbox_head'] | dict(in_channels=4, fc_out_channels=8, roi_feat_size=2)
        boxes.append((MMDET_MODELS if code == old else MODELS).build(cfg))
    assert [box.fc_cls.out_features for box in boxes] == [1204 if name == 'EQLv2Loss' else 1205] * 2
    assert type(boxes[1].loss_cls).__name__ == name


def test_migration_of_repeat_factors():
    dataset = ToyImages(counts=[60, 6, 2])
    dataset.get_cat_ids = lambda idx: [dataset.get_data_info(idx)['gt_label']]
    old = ClassBalancedDataset(dataset, oversample_thr=0.4)
    new = DATA_SAMPLERS.build(dict(type='ltmm.RepeatFactorSampler', dataset=dataset, threshold=0.4, rounding='ceil'))
    assert len(new) == len(old)
    assert sorted(new) == sorted(old.repeat_indices)


def exec_config(code: str) -> dict:
    namespace: dict = {}
    exec(code, namespace)
    return namespace


PAGES = [ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md'), *(ROOT / 'configs').glob('*/README.md')]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    """A relative link leads to a file, and its anchor to a heading."""
    text = re.sub(r'^( *)```.*?^\1```', '', page.read_text(encoding='utf-8'), flags=re.M | re.S)
    for link in re.findall(r'\]\(((?!\w+:)[^()\s]+)\)', text):
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            target = target / 'README.md' if target.is_dir() else target
            headings = re.findall(r'^#+ (.+)$', target.read_text(encoding='utf-8'), re.M)
            assert anchor in [anchor_of(heading) for heading in headings], link


def anchor_of(heading: str) -> str:
    """Return GitHub's anchor of a heading."""
    text = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading.strip().lower())
    return re.sub(r'[^\w\- ]', '', text).replace(' ', '-')

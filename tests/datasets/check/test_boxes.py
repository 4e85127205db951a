import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('imagehash')
pytest.importorskip('mmdet')

from ltmm.datasets.check import check_data
from ltmm.datasets.check.advice import advise


def test_boxes(tmp_path):
    for name in ('a.png', 'b.png'):
        Image.effect_noise((40, 30), 50).convert('RGB').save(tmp_path / name)
    boxes = [(0, [0, 0, 20, 20]), (0, [30, 10, 30, 10]), (1, [5, 5, 2, 20]), (1, [5, 5, 10, 10])]
    content = dict(
        images=[dict(id=0, file_name='a.png', width=40, height=30),
                dict(id=1, file_name='b.png', width=400, height=300)],
        annotations=[
            dict(id=i, image_id=image, category_id=1, bbox=box, area=box[2] * box[3], iscrowd=0)
            for i, (image, box) in enumerate(boxes)
        ],
        categories=[dict(id=1, name='ant')],
    )  # fmt: skip
    (tmp_path / 'all.json').write_text(json.dumps(content))
    dataset = dict(type='ltmm.LVISDataset', ann_file=str(tmp_path / 'all.json'), data_prefix=dict(img=str(tmp_path)))
    dataset['pipeline'] = [dict(type='LoadAnnotations', with_bbox=True, with_mask=False)]  # mmcv has one, too
    cfg = dict(default_scope='mmdet', train_dataloader=dict(dataset=dataset))
    findings = {f.text: f.examples for f in check_data(cfg, workers=0).findings}
    assert findings['train: 1 image has another size than the annotation says.'] == [
        f'{tmp_path}/b.png: 40 x 30, annotated as 400 x 300'
    ]
    assert findings['train: 1 of 4 boxes reaches out of the image.'] == [f'{tmp_path}/a.png: [30.0, 10.0, 60.0, 20.0]']
    tiny = 'train: 1 of 4 boxes is narrower than 4 pixels; few detectors find them.'
    assert findings[tiny] == [f'{tmp_path}/b.png: [5.0, 5.0, 7.0, 25.0]']


EXPERTS = dict(roi_head=dict(bbox_head=[dict(type='ltmm.MultiExpertBBoxHead')]))
REPEATED = dict(sampler=dict(type='ltmm.RepeatFactorSampler', threshold=0.05))


@pytest.mark.parametrize(
    'loader, model, words, absent',
    [
        ({}, None, 'RepeatFactorSampler) was the best', 'Still open'),
        (REPEATED, None, 'Still open: three experts', 'RepeatFactorSampler'),
        (dict(dataset=dict(type='ClassBalancedDataset')), {}, 'three experts', 'RepeatFactorSampler'),
        ({}, EXPERTS, 'Still open: repeat-factor sampling (ltmm.RepeatFactorSampler)', 'MultiExpert'),
        (REPEATED, EXPERTS, 'Still open: the threshold of the repetition (', 'Sampler'),
    ],
)
def test_advice_for_a_detector_says_what_is_still_open(loader, model, words, absent):
    part = SimpleNamespace(table=SimpleNamespace(image_counts=np.array([400, 20])), boxes=[1])
    text = ' '.join(advise(part, dict(train_dataloader=loader, model=model)))
    assert words in text and absent not in text

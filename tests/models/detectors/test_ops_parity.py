"""Detectors on the ops of :mod:`ltmm.utils.mmcv_ops` equal those on mmcv's compiled ops, bit by bit."""

import pytest
import torch

pytest.importorskip('mmdet')
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.hub import get_config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from toy_ops import STAND_IN, compiled_ops, ops_of

CONFIGS = dict(
    faster_rcnn='faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    mask_rcnn='mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    cascade_rcnn='cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    retinanet='retinanet/retinanet_r50_fpn_1x_coco.py',
    deformable_detr='deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
)
SIZE = (192, 256)


def build(config):
    """mmdet's detector with a ResNet-18; all else, such as the number of proposals, as it is."""
    model = get_config(f'mmdet::{config}').model
    model.backbone.update(depth=18, init_cfg=None)
    channels = [64, 128, 256, 512]
    model.neck.in_channels = channels[-len(model.neck.in_channels) :]
    model.test_cfg.get('rcnn', model.test_cfg).score_thr = 0.0
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(model)
    model.init_weights()
    return model


def batch(num_objects=5):
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2):
        corner = torch.rand(num_objects, 2, generator=generator) * torch.tensor([128.0, 96.0])
        boxes = torch.cat([corner, corner + 16 + 80 * torch.rand(num_objects, 2, generator=generator)], 1)
        masks = torch.rand(num_objects, *SIZE, generator=generator).round().byte().numpy()
        meta = dict(img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE, batch_input_shape=SIZE, scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=meta)
        labels = torch.randint(80, (num_objects,), generator=generator)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=BitmapMasks(masks, *SIZE))
        samples.append(sample)
    pixels = torch.randint(256, (2, 3, *SIZE), dtype=torch.uint8, generator=generator)
    return dict(inputs=list(pixels), data_samples=samples)


def train_and_predict(config):
    """Return losses and gradients of two steps, and the detections after them."""
    model, results = build(config).train(), {}
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-4), clip_grad=dict(max_norm=1.0))
    for step in range(2):
        torch.manual_seed(step)
        losses = model.train_step(batch(), optimizer)
        results |= {f'step {step}: {name}': value.detach() for name, value in losses.items()}
        grads = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        results |= {f'step {step}: gradient of {name}': grad.clone() for name, grad in grads.items()}
    with torch.no_grad():
        for i, sample in enumerate(model.eval().test_step(batch())):
            results |= {f'image {i}: {name}': torch.as_tensor(value) for name, value in sample.pred_instances.items()}
    return results


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS.values(), ids=CONFIGS)
def test_detector_equals_that_on_compiled_ops(config):
    with ops_of(compiled_ops()):
        expected = train_and_predict(config)
    with ops_of(STAND_IN):
        results = train_and_predict(config)
    assert results.keys() == expected.keys()
    assert sum(len(value) for name, value in results.items() if name.endswith('labels')) >= 100
    assert [name for name, value in results.items() if not torch.equal(value, expected[name])] == []

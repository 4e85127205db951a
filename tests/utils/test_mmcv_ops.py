import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmcv')
import mmcv.ops as ops
from toy_ops import STAND_IN, compiled_ops, ops_of

from ltmm.utils.environment import EnvironmentProblem


@pytest.fixture(autouse=True)
def stand_in():
    with ops_of(STAND_IN):
        yield


def random_boxes(num_boxes, size=20, smallest=0):
    """Many equal coordinates and IoUs, as on a grid of anchors."""
    corners = torch.randint(size, (num_boxes, 2)).float()
    return torch.cat([corners, corners + torch.randint(smallest, size, (num_boxes, 2))], 1)


def random_scores(num_boxes, ties=True):
    scores = torch.rand(num_boxes)
    return scores.round(decimals=1) if ties else scores


def iou(a, b, offset=0):
    """IoU in float32, in the order of operations of mmcv's loop."""
    f, offset = np.float32, np.float32(offset)
    width = max(f(0), min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(f(0), min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area_a, area_b = ((box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b))
    with np.errstate(invalid='ignore'):
        return width * height / (area_a + area_b - width * height)


def naive_nms(boxes, scores, threshold, offset=0):
    order, kept = scores.sort(descending=True)[1].tolist(), []
    boxes = boxes.numpy()
    for j in order:
        if not any(iou(boxes[i], boxes[j], offset) > np.float32(threshold) for i in kept):
            kept.append(j)
    return kept


def naive_soft_nms(boxes, scores, threshold, sigma, min_score, method):
    """The loop of mmcv's nms.cpp, statement by statement."""
    rows = [[box, score, i] for i, (box, score) in enumerate(zip(boxes.numpy(), scores.numpy().copy()))]
    i = 0
    while i < len(rows):
        best = max(range(i, len(rows)), key=lambda k: (rows[k][1], -k))
        rows[i], rows[best] = rows[best], rows[i]
        j = i + 1
        while j < len(rows):
            overlap = iou(rows[i][0], rows[j][0])
            if method == 'gaussian':
                rows[j][1] *= np.exp(-(overlap * overlap) / np.float32(sigma))
            elif overlap >= np.float32(threshold):
                rows[j][1] *= 1 - overlap if method == 'linear' else np.float32(0)
            if rows[j][1] < np.float32(min_score):
                last = rows.pop()
                if j < len(rows):
                    rows[j] = last
            else:
                j += 1
        i += 1
    return [row[2] for row in rows], [row[1] for row in rows]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.5, 0.6, 0.7])
def test_nms_keeps_mmcvs_order_of_equal_scores(threshold, offset):
    boxes, scores = random_boxes(150), random_scores(150)
    dets, kept = ops.nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == naive_nms(boxes, scores, threshold, offset)
    assert torch.equal(dets, torch.cat([boxes[kept], scores[kept, None]], 1))


def test_nms_compares_with_the_threshold_in_float32():
    boxes = torch.tensor([[0.0, 0.0, 8.0, 1.0], [2.0, 0.0, 10.0, 1.0]])  # IoU 6 / 10, and float32(0.6) > 0.6
    assert ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.6)[1].tolist() == [0, 1]


def test_nms_of_half_precision_and_of_nothing():
    boxes, scores = random_boxes(3000, size=200), torch.ones(3000)  # float16 cannot count to 3000
    assert torch.equal(ops.nms(boxes.half(), scores.half(), 0.5)[1], ops.nms(boxes, scores, 0.5)[1])
    assert ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)[1].tolist() == []


@pytest.mark.parametrize('min_score', [1e-3, 0.3])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms(method, min_score):
    smooth = method == 'gaussian'  # its exp() differs by a last bit: no ties; mmcv's IoU of empty boxes is NaN
    boxes, scores = random_boxes(60, smallest=int(smooth)), random_scores(60, ties=not smooth)
    dets, kept = ops.soft_nms(boxes, scores, 0.3, 0.5, min_score, method)
    expected, expected_scores = naive_soft_nms(boxes, scores, 0.3, 0.5, min_score, method)
    assert kept.tolist() == expected
    torch.testing.assert_close(dets, torch.cat([boxes[kept], torch.tensor(np.array(expected_scores))[:, None]], 1))


def naive_roi_align(image, roi, size, scale, ratio):
    """Mean of ratio x ratio bilinear samples per bin, for an aligned box inside the image."""
    x1, y1, x2, y2 = (roi * scale - 0.5).tolist()
    out = torch.zeros(len(image), *size, dtype=image.dtype)
    for row in range(size[0]):
        for column in range(size[1]):
            for sample in np.ndindex(ratio, ratio):
                y = y1 + (row + (sample[0] + 0.5) / ratio) * (y2 - y1) / size[0]
                x = x1 + (column + (sample[1] + 0.5) / ratio) * (x2 - x1) / size[1]
                top, left = int(y), int(x)
                dy, dx = y - top, x - left
                corners = image[:, top : top + 2, left : left + 2]
                weights = torch.tensor([[(1 - dy) * (1 - dx), (1 - dy) * dx], [dy * (1 - dx), dy * dx]])
                out[:, row, column] += (corners * weights).sum((1, 2)) / ratio**2
    return out


def test_roi_align():
    images = torch.rand(2, 3, 9, 12, dtype=torch.double, requires_grad=True)
    rois = torch.tensor([[1, 3.0, 4.0, 14.0, 11.0], [0, 2.5, 5.5, 20.0, 15.0]]).double()
    layer = ops.RoIAlign((2, 3), spatial_scale=0.5, sampling_ratio=2)
    expected = [naive_roi_align(images[int(roi[0])].detach(), roi[1:], (2, 3), 0.5, 2) for roi in rois]
    torch.testing.assert_close(layer(images, rois), torch.stack(expected))
    torch.autograd.gradcheck(lambda images: layer(images, rois), images, fast_mode=True)


def test_roi_align_under_autocast_to_bfloat16():
    images = torch.rand(2, 3, 9, 12).bfloat16().requires_grad_()
    rois = torch.tensor([[1, 3.0, 4.0, 14.0, 11.0], [0, 2.5, 5.5, 20.0, 15.0]])
    layer = ops.RoIAlign((2, 3), spatial_scale=0.5, sampling_ratio=2)
    (expected,) = torch.autograd.grad(layer(images.float(), rois).square().sum(), images)
    with torch.autocast('cpu', torch.bfloat16):
        output = layer(images, rois)
    (grad,) = torch.autograd.grad(output.float().square().sum(), images)
    torch.testing.assert_close(grad, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize('gamma', [0.0, 2.0])
@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_focal_loss(gamma, weighted):
    score = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    target = torch.tensor([0, 2, 1, 2, 0 if weighted else 3])  # 3: background
    weight = torch.rand(3).double() if weighted else None
    p, t = score.sigmoid(), F.one_hot(target, 4)[:, :3]
    bce = F.binary_cross_entropy_with_logits(score, t.double(), reduction='none')
    expected = (torch.where(t > 0, 0.25 * (1 - p) ** gamma, 0.75 * p**gamma) * bce).sum(1)
    expected = (expected * (weight[target] if weighted else 1)).sum() / 5
    loss = ops.sigmoid_focal_loss(score, target, gamma, 0.25, weight, 'mean')
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    grads = [torch.autograd.grad(value, score)[0] for value in (loss, expected)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-7)


def test_sigmoid_focal_loss_of_extreme_scores_is_finite():
    score = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    loss = ops.sigmoid_focal_loss(score, torch.tensor([0]), 2.0, 0.25, None, 'sum')
    loss.backward()
    assert loss.isfinite() and score.grad.isfinite().all()


GEOMETRY = dict(stride=(1, 2), padding=(1, 0), dilation=(2, 1), groups=2)


def deform_inputs(modulated):
    image, weight = torch.rand(2, 4, 6, 7).double(), torch.rand(6, 2, 2, 3).double()
    height, width = F.conv2d(image, weight, **GEOMETRY).shape[2:]
    offset = torch.rand(2, 2 * 2 * 6, height, width).double()  # two deformable groups, (y, x) of each of six taps
    mask = torch.rand(2, 2 * 6, height, width).double()
    bias = torch.rand(6).double()
    inputs = (image, offset, mask, weight, bias) if modulated else (image, offset, weight)
    return [tensor.requires_grad_() for tensor in inputs]


def deform_conv(*inputs):
    function = ops.deform_conv2d if len(inputs) == 3 else ops.modulated_deform_conv2d
    return function(*inputs, *GEOMETRY.values(), 2)


@pytest.mark.parametrize('modulated', [False, True])
def test_deform_conv(modulated):
    inputs = deform_inputs(modulated)
    image, offset, weight = inputs[0], inputs[1], inputs[-1 - modulated]
    with torch.no_grad():
        constants = [torch.ones_like(inputs[2])] if modulated else []
        rest = inputs[-1:] if modulated else []
        bias = inputs[-1] if modulated else None
        plain = deform_conv(image, torch.zeros_like(offset), *constants, weight, *rest)
        torch.testing.assert_close(plain, F.conv2d(image, weight, bias, **GEOMETRY))
        offset_by_a_row = torch.tensor([1.0, 0.0]).double().repeat(12)[None, :, None, None].expand_as(offset)
        moved = deform_conv(image, offset_by_a_row, *constants, weight, *rest)
        one_up = F.pad(image, (0, 0, 0, 1))[:, :, 1:]
        torch.testing.assert_close(moved[:, :, 1:], F.conv2d(one_up, weight, bias, **GEOMETRY)[:, :, 1:])
    assert torch.autograd.gradcheck(deform_conv, inputs, fast_mode=True)


def test_modulated_deform_conv_without_bias():
    inputs = deform_inputs(modulated=True)[:-1]
    assert torch.autograd.gradcheck(lambda *inputs: deform_conv(*inputs, None), inputs, fast_mode=True)


def test_multi_scale_deformable_attention_of_gpus():
    shapes, starts = torch.tensor([[3, 4], [2, 2]]), torch.tensor([0, 12])
    value = torch.rand(2, 16, 2, 3).double().requires_grad_()
    locations = torch.rand(2, 5, 2, 2, 3, 2).double().requires_grad_()
    weights = torch.rand(2, 5, 2, 2, 3).double().requires_grad_()
    module = sys.modules['mmcv.ops.multi_scale_deform_attn']

    def attend(value, locations, weights):
        return module.MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)

    expected = module.multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    torch.testing.assert_close(attend(value, locations, weights), expected)
    assert torch.autograd.gradcheck(attend, (value, locations, weights), fast_mode=True)


def test_other_op_names_itself_and_the_remedy():
    features = torch.rand(1, 4, 4, 4)
    with pytest.raises(EnvironmentProblem, match="^mmcv's op carafe_forward needs .* make install OPS=compiled$"):
        ops.carafe(features, torch.rand(1, 9, 8, 8), 3, 1, 2)
    with pytest.raises(EnvironmentProblem, match='roi_align with pool_mode="max"'):
        ops.RoIAlign((1, 1), pool_mode='max')(features, torch.zeros(1, 5))


def calls():
    """Ops on random inputs, gradients included."""

    def gradients(function, *inputs):
        inputs = [tensor.detach().float().requires_grad_() for tensor in inputs]
        output = function(*inputs)
        return output, *torch.autograd.grad(output.square().sum(), inputs)

    boxes, scores = random_boxes(500), random_scores(500)
    rois = torch.cat([torch.randint(2, (500, 1)), boxes], 1)
    images = torch.rand(2, 8, 20, 30)
    for offset in (0, 1):
        yield f'nms, offset {offset}', lambda offset=offset: ops.nms(boxes, scores, 0.6, offset=offset)
    for method in ('naive', 'linear', 'gaussian'):
        smooth = method == 'gaussian'
        inputs = random_boxes(500, smallest=int(smooth)), random_scores(500, ties=not smooth)
        yield f'soft_nms {method}', lambda i=inputs, method=method: ops.soft_nms(*i, 0.3, 0.5, 0.1, method)
    for ratio, aligned in ((0, True), (2, True), (0, False)):
        layer = ops.RoIAlign(7, 0.5, ratio, aligned=aligned)
        yield f'roi_align {ratio} {aligned}', lambda layer=layer: gradients(lambda images: layer(images, rois), images)
    for modulated in (False, True):
        inputs = deform_inputs(modulated)
        yield f'deform_conv {modulated}', lambda inputs=inputs: gradients(deform_conv, *inputs)


def test_ops_equal_those_of_the_compiled_build():
    extension = compiled_ops()
    for name, call in calls():
        with ops_of(extension):
            expected = call()
        for result, wanted in zip(call(), expected, strict=True):
            if 'deform' in name or 'gaussian' in name:  # other order of sums; exp() of another library
                torch.testing.assert_close(
                    result, wanted, rtol=1e-5, atol=1e-5, msg=lambda text, n=name: f'{n}: {text}'
                )
            else:
                assert torch.equal(result, wanted), name

import pytest
import torch
import torch.nn.functional as F

from ltmm.registry import MODELS
from ltmm.tasks.super_resolution import FocalPixelLoss, enlarge
from ltmm.utils.errors import InputError, InputTypeError

NET = dict(type='ltmm.FSRCNN', dim=6, shrunk_dim=3, num_mappings=1)


def build(**kwargs):
    torch.manual_seed(0)
    config = dict(type='ltmm.ResidualSR', backbone=NET, loss=dict(type='ltmm.FocalPixelLoss'), scale=2)
    return MODELS.build(config | kwargs).double()


def batch(height=6, width=9):
    lr = torch.rand(2, 3, height, width, dtype=torch.float64)
    return lr, dict(hr=torch.rand(2, 3, 2 * height, 2 * width, dtype=torch.float64))


@pytest.mark.parametrize('residual', [True, False])
def test_bicubic_enlargement_is_added(residual):
    model, (lr, samples) = build(residual=residual), batch()
    bicubic = F.interpolate(lr, size=(12, 18), mode='bicubic')
    sr = model.backbone(lr) + residual * bicubic
    torch.testing.assert_close(model(lr), sr)
    expected = FocalPixelLoss()(sr, samples['hr'], bicubic)
    torch.testing.assert_close(model(lr, samples, mode='loss')['loss'], expected)
    first, second = model(lr, samples, mode='predict')
    torch.testing.assert_close(second['sr'], sr[1])
    torch.testing.assert_close(first['bicubic'], bicubic[0])
    assert torch.equal(second['hr'], samples['hr'][1])


def test_patches_overlap_and_are_averaged():
    model, (lr, samples) = build(patch_size=4, patch_step=3, patches_at_once=3), batch(5, 6)
    expected, count = (torch.zeros(2, 3, 10, 12, dtype=torch.float64) for _ in range(2))
    for row in (0, 1):
        for column in (0, 2):
            sr = model(lr[:, :, row : row + 4, column : column + 4])
            where = ..., slice(2 * row, 2 * row + 8), slice(2 * column, 2 * column + 8)
            expected[where] += sr
            count[where] += 1
    results = torch.stack([result['sr'] for result in model(lr, samples, mode='predict')])
    torch.testing.assert_close(results, expected / count)
    assert not torch.allclose(results, model(lr))  # differs near the seams


def test_enlargement_of_a_constant():
    torch.testing.assert_close(enlarge(torch.full((1, 3, 4, 4), 0.3), 3), torch.full((1, 3, 12, 12), 0.3))


def test_invalid_arguments():
    with pytest.raises(InputTypeError, match='expected a PixelLoss'):
        build(loss=dict(type='ltmm.BalancedSoftmaxLoss', class_counts=[3, 2]))
    with pytest.raises(InputError, match='patch_step'):
        build(patch_size=4, patch_step=5)
    with pytest.raises(InputError, match='mode'):
        build()(*batch(), mode='train')


def test_another_scale_in_the_data():
    lr, samples = batch()
    for mode in ('loss', 'predict'):
        with pytest.raises(InputError, match=r'by 3, but got small images of \(6, 9\) and large ones of \(12, 18\)'):
            build(scale=3)(lr, samples, mode=mode)

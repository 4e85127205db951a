import pytest
from mmengine.config import Config

from ltmm.utils.errors import InputError
from ltmm.utils.schedules import check_warm_up

DROP = dict(type='MultiStepLR', milestones=[2])


@pytest.mark.parametrize('scheduler', [dict(begin=0, end=1, start_factor=0.2), dict(begin=9, end=10, by_epoch=False)])
def test_a_warm_up_of_one_step(scheduler):
    with pytest.raises(InputError, match=f'stays at start_factor=0.*end={scheduler["begin"] + 2} or more'):
        check_warm_up(Config(dict(param_scheduler=[dict(type='LinearLR', **scheduler), DROP])))


def test_a_training_that_ends_with_the_warm_up():
    cfg = Config(dict(param_scheduler=[dict(type='CosineAnnealingLR', begin=2)], train_cfg=dict(max_epochs=3)))
    check_warm_up(cfg)
    cfg.train_cfg.max_epochs = 2
    with pytest.raises(InputError, match='CosineAnnealingLR begins at epoch 2, .* has 2. Train for at least 3 epochs'):
        check_warm_up(cfg)


@pytest.mark.parametrize(
    'scheduler',
    [
        dict(begin=0, end=2),
        dict(end=1, convert_to_iter_based=True),
        dict(end=1, start_factor=1),
        dict(),
    ],
)
def test_other_warm_ups(scheduler):
    check_warm_up(Config(dict(param_scheduler=dict(type='LinearLR', **scheduler))))
    check_warm_up(Config(dict(param_scheduler=[DROP])))
    check_warm_up(Config(dict(model={})))

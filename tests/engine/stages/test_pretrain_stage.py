import pytest
from mmengine.config import Config

from ltmm.engine.stages import PretrainStage

CFG = Config(dict(train_cfg=dict(max_epochs=1), model=dict(type='ImageClassifier', backbone=dict(), neck=dict())))


def test_next_stage_loads_the_parts_and_keeps_its_hooks(tmp_path):
    own = dict(type='ltmm.FreezeHook', prefixes=['backbone'])
    for hooks, parts in (([own], ['backbone']), ([], ['backbone.layer1', 'neck'])):
        stage = PretrainStage(cfg=CFG, folder=tmp_path, name='pretrain', parts=parts)
        following = Config(dict(custom_hooks=hooks) if hooks else {})
        stage.prepare_next(following)
        assert following.custom_hooks == [*hooks, dict(type='ltmm.LoadPartsHook', prefixes=parts)]


@pytest.mark.parametrize('parts', ['backbone', [], ['bakbone'], ['backbone', 'head']])
def test_parts_are_checked_before_the_pre_training(tmp_path, parts):
    with pytest.raises(ValueError, match=r"stage1_a: expected `parts` to be a list of \['backbone', 'neck'\], but got"):
        PretrainStage(cfg=CFG, folder=tmp_path / 'stage1_a', name='pretrain', parts=parts)

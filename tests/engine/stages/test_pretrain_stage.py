from mmengine.config import Config

from ltmm.engine.stages import PretrainStage

CFG = Config(dict(train_cfg=dict(max_epochs=1)))


def test_next_stage_loads_the_parts_and_keeps_its_hooks(tmp_path):
    own = dict(type='ltmm.FreezeHook', prefixes=['backbone'])
    for hooks, parts in (([own], ['backbone']), ([], ['backbone', 'neck'])):
        stage = PretrainStage(cfg=CFG, folder=tmp_path, name='pretrain', parts=parts)
        following = Config(dict(custom_hooks=hooks) if hooks else {})
        stage.prepare_next(following)
        assert following.custom_hooks == [*hooks, dict(type='ltmm.LoadPartsHook', prefixes=parts)]

import pytest
import torch
from mmengine.config import Config

from ltmm.engine.stages import TrainStage


def stage(folder, **settings):
    cfg = Config(dict(train_cfg=dict(max_epochs=2), **settings))
    return TrainStage(cfg=cfg, folder=folder, name='ce')


@pytest.mark.parametrize('size', [0, 40])
def test_half_written_files_do_not_stop_a_resume(tmp_path, size, capsys):
    first = stage(tmp_path, lr=0.1)
    first.write_record()
    torch.save({}, tmp_path / 'epoch_1.pth')
    for name, text in (('last_checkpoint', str(tmp_path)), ('stage.json', (tmp_path / 'stage.json').read_text())):
        (tmp_path / name).write_text(text[:size])
    again = stage(tmp_path, lr=0.1)
    again.check_same_config()
    assert 'stage.json is incomplete' in capsys.readouterr().out
    assert again.latest_checkpoint == tmp_path / 'epoch_1.pth'
    again.write_record()
    with pytest.raises(ValueError, match=r'another config(?s:.*)"lr": 0.1(?s:.*)"lr": 0.3'):
        stage(tmp_path, lr=0.3).check_same_config()


def test_no_complete_checkpoint_is_left(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')
    with pytest.raises(FileNotFoundError, match=f'{tmp_path}/epoch_1.pth is gone.*--first-stage'):
        _ = stage(tmp_path).latest_checkpoint


def test_stage_does_not_stop_early(tmp_path):
    hook = dict(type='ltmm.EarlyStoppingHook', monitor='long_tail/top1')
    with pytest.raises(ValueError, match='a stage is complete after its last epoch'):
        stage(tmp_path, custom_hooks=[hook])

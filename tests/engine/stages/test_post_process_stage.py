from pathlib import Path

import pytest
from mmengine.config import Config

from ltmm.engine.stages import PostProcessStage


@pytest.mark.parametrize(
    ('file', 'remedy'), [('post_processed.py', 'hook ltmm.PostProcessHook'), ('post_processed.npz', 'tools/post_proc')]
)
def test_correction_that_gives_no_checkpoint(tmp_path, monkeypatch, file, remedy):
    monkeypatch.setattr('ltmm.engine.stages.post_process_stage.post_process', lambda *_: [tmp_path / file])
    stage = PostProcessStage(cfg=Config(), folder=tmp_path, name='any', step=dict(type='ltmm.TauNorm'))
    with pytest.raises(ValueError, match=f'{file}. Use .*{remedy}'):
        stage.run(Path('any.pth'))

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from mmengine.config import Config

from ltmm.engine.stages import Stage, TeacherStage, run_stages

CFG = Config(dict(train_cfg=dict(max_epochs=1)))
started = []


@dataclass(kw_only=True)
class Student(Stage):
    """Notes what it starts from."""

    @property
    def result(self):
        return self.folder / 'student.pth'

    def run(self, previous):
        started.append(previous)
        self.result.touch()


def test_starts_from_scratch_and_does_not_hand_on_its_weights(tmp_path, monkeypatch):
    def build_runner(cfg):
        started.append(cfg.get('load_from'))
        return SimpleNamespace(train=lambda: Path(tmp_path, f'{len(started)}/epoch_1.pth').touch())

    monkeypatch.setattr('ltmm.engine.stages.train_stage.build_runner', build_runner)
    started.clear()
    stages = [TeacherStage(cfg=CFG, folder=tmp_path / name, name=name) for name in '12']
    stages.append(Student(cfg=CFG, folder=tmp_path / 'student', name='student'))
    for stage in stages:
        stage.folder.mkdir()
    assert run_stages(stages, 0) == stages[-1].result
    assert started == [None, None, None]
    run_stages(stages, 2, first_checkpoint=tmp_path / 'given.pth')  # in place of the first teacher
    assert started[3:] == [None]

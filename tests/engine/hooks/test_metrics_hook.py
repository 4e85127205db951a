import pytest
from mmengine.runner import Runner
from torch import nn
from toy import Stopped, toy_config

from ltmm.models.state import UsesMetrics
from ltmm.utils.errors import MissingInputError


class Recorder(UsesMetrics, nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.figures = []

    def on_metrics(self, figures):
        self.figures.append(figures)


def test_modules_get_the_metrics_of_every_validation(tmp_path):
    recorder = Recorder()
    runner = Runner.from_cfg(toy_config(tmp_path, **{'train_cfg.max_epochs': 2}))
    runner.model.backbone.add_module('recorder', recorder)
    runner.train()
    assert len(recorder.figures) == 2
    assert all(0 <= figures['accuracy/top1'] <= 100 for figures in recorder.figures)


def test_needs_a_validation(tmp_path):
    options = dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator'))
    runner = Runner.from_cfg(toy_config(tmp_path, **options))
    runner.model.backbone.add_module('recorder', Recorder())
    with pytest.raises(MissingInputError, match='Recorder adapts to the validation'):
        runner.train()


@pytest.mark.parametrize('val_interval, repeated', [(1, True), (2, True), (3, False)])
def test_resume_repeats_the_validation_that_the_checkpoint_lacks(tmp_path, val_interval, repeated):
    """A checkpoint of an epoch is written before its validation."""
    recorders = []
    for resume in (False, True):
        cfg = toy_config(tmp_path, resume=resume, **{'train_cfg.max_epochs': 4, 'train_cfg.val_interval': val_interval})
        cfg.experiment_name += str(resume)
        if not resume:
            cfg.custom_hooks.append(dict(type='ltmm.StopHook', at_iter=17))  # the first of the third epoch
        runner = Runner.from_cfg(cfg)
        recorders.append(Recorder())
        runner.model.backbone.add_module('recorder', recorders[-1])
        if resume:
            runner.train()
        else:
            with pytest.raises(Stopped):
                runner.train()
    before, after = (recorder.figures for recorder in recorders)
    assert (after[0] == before[-1]) if repeated else not before
    assert len(after) == repeated + sum(epoch % val_interval == 0 or epoch == 4 for epoch in (3, 4))

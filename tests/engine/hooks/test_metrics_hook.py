from mmengine.runner import Runner
from torch import nn
from toy import toy_config

from ltmm.models.state import UsesMetrics


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

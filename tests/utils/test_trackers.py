import pytest
from mmengine.config import Config
from mmengine.visualization import TensorboardVisBackend
from toy import toy_config

from ltmm.utils import trackers
from ltmm.utils.environment import EnvironmentProblem
from ltmm.utils.errors import InputError
from ltmm.utils.trackers import use_trackers


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, 'check_extra', lambda *args: None)
    for name in ('MLFLOW_EXPERIMENT_NAME', 'WANDB_PROJECT'):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / 'bench').mkdir()
    toy_config(tmp_path / 'work').dump(tmp_path / 'bench/ce.py')
    return Config.fromfile(tmp_path / 'bench/ce.py')


def types(cfg):
    return [backend['type'] for backend in cfg.visualizer.vis_backends]


def test_backends_and_hook_are_added_once(cfg):
    cfg.trackers = ['mlflow', 'wandb', 'mlflow']
    for _ in range(2):  # a dumped config has both
        use_trackers(cfg)
    assert types(cfg) == ['LocalVisBackend', 'ltmm.MLflowVisBackend', 'WandbVisBackend']
    assert [hook['type'] for hook in cfg.custom_hooks].count('ltmm.TrackingHook') == 1
    assert cfg.visualizer.vis_backends[1].exp_name == cfg.visualizer.vis_backends[2].init_kwargs.project == 'bench'
    assert cfg.visualizer.vis_backends[1].run_name == 'ce_seed0'


def test_run_without_a_seed(cfg):
    cfg.trackers, cfg.randomness = ['mlflow'], dict()
    use_trackers(cfg)
    assert cfg.visualizer.vis_backends[1].run_name == 'ce'


def test_names_of_the_environment_come_first(cfg, monkeypatch):
    monkeypatch.setenv('WANDB_PROJECT', 'mine')
    cfg.trackers = ['wandb']
    use_trackers(cfg)
    assert cfg.visualizer.vis_backends[1].init_kwargs.project == 'mine'


def test_backend_of_the_config_gets_the_hook(cfg):
    cfg.visualizer.vis_backends = [dict(type=TensorboardVisBackend)]  # a class, as in MMEngine's new configs
    use_trackers(cfg)
    assert types(cfg) == [TensorboardVisBackend] and cfg.custom_hooks[-1].type == 'ltmm.TrackingHook'


def test_nothing_changes_without_trackers(cfg):
    before = cfg.to_dict()
    use_trackers(cfg)
    assert cfg.to_dict() == before


@pytest.mark.parametrize('names', [['tensorbord'], 'tensorboard', ['tensorboard', 'clearml'], 5])
def test_unknown_tracker(cfg, names):
    cfg.trackers = names
    with pytest.raises(InputError, match='Expected `trackers` to be a list of tensorboard, mlflow, wandb'):
        use_trackers(cfg)


def test_missing_package(tmp_path, monkeypatch):
    monkeypatch.setattr('ltmm.utils.environment.find_spec', lambda name: None)
    with pytest.raises(EnvironmentProblem, match=r'mlflow is not installed. .*pip install "ltmm\[tracking\]"'):
        use_trackers(toy_config(tmp_path, trackers=['mlflow']))

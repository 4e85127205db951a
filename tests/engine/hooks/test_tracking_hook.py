import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.config import Config
from toy import toy_config
from toy_processes import run_on_two_ranks

from ltmm.utils.launch import build_runner
from ltmm.utils.trackers import use_trackers

pytestmark = pytest.mark.slow
ARTIFACTS = ['class_distribution.png', 'per_class.csv']


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A training that all three trackers log, offline: the folder of its log, and of MLflow's store."""
    for package in ('tensorboard', 'mlflow', 'wandb'):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp('tracked')
    metric = dict(type='ltmm.LongTailMetric', topk=(1,), thresholds=(30, 10))
    cfg = toy_config(folder / 'work', val_evaluator=metric, test_evaluator=metric, **{'train_cfg.max_epochs': 2})
    (folder / 'bench').mkdir()
    cfg.dump(folder / 'bench/ce.py')
    cfg = Config.fromfile(folder / 'bench/ce.py')
    cfg.trackers = ['tensorboard', 'mlflow', 'wandb']
    use_trackers(cfg)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv('WANDB_MODE', 'offline')
        patch.setenv('MLFLOW_TRACKING_URI', f'sqlite:///{folder}/mlflow.db')
        patch.delenv('MLFLOW_EXPERIMENT_NAME', raising=False)
        build_runner(cfg).train()
        yield next((folder / 'work').glob('*/vis_data')).parent, folder


def figures(log_folder: Path) -> dict[str, float]:
    """The last value of each figure in MMEngine's own file."""
    lines = (log_folder / 'vis_data/scalars.json').read_text().splitlines()
    found = {key: value for line in lines for key, value in json.loads(line).items()}
    return {key: value for key, value in found.items() if key != 'step'}


def test_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run[0] / 'vis_data')).Reload()
    expected = figures(run[0])
    assert {'loss', 'lr', 'long_tail/top1', 'long_tail/few'} <= expected.keys()
    assert {tag: events.Scalars(tag)[-1].value for tag in events.Tags()['scalars']} == pytest.approx(expected)
    assert events.Tags()['images'] == ['class_distribution']
    (table,) = events.Tensors('per_class/text_summary')
    assert b'| label | name |' in table.tensor_proto.string_val[0]
    assert 'config/text_summary' in events.Tags()['tensors']


def test_mlflow(run):
    from mlflow import MlflowClient

    client = MlflowClient(f'sqlite:///{run[1]}/mlflow.db')
    (tracked,) = client.search_runs([client.get_experiment_by_name('bench').experiment_id])
    metrics, expected = tracked.data.metrics, figures(run[0])
    assert metrics.keys() == expected.keys()
    for name in ('time', 'data_time'):  # of training and validation: MLflow takes the highest step for the last
        metrics.pop(name), expected.pop(name)
    assert metrics == pytest.approx(expected)
    assert tracked.info.run_name == 'ce_seed0' and tracked.info.status == 'FINISHED'
    assert tracked.data.params['model.head.loss.type'] == 'ltmm.BalancedSoftmaxLoss'
    names = [item.path for item in client.list_artifacts(tracked.info.run_id)]
    assert {*ARTIFACTS, 'config.py'} < set(names) and any(name.endswith('.log') for name in names)


def records(file: Path) -> Iterator[bytes]:
    """The records of W&B's file, which is a log of LevelDB after a header of 7 bytes."""
    data, position, parts = file.read_bytes(), 7, b''
    while position + 7 <= len(data):
        if 2**15 - position % 2**15 < 7:  # the rest of a block is empty
            position += 2**15 - position % 2**15
        length, kind = struct.unpack_from('<HB', data, position + 4)
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # the whole, or the last part
            yield parts
            parts = b''


def test_wandb(run):
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = run[0].glob('vis_data/wandb/offline-run-*/run-*.wandb')
    found = [Record.FromString(record) for record in records(file)]
    logged = [
        {item.key or '/'.join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in found
        if record.HasField('history')
    ]
    last = {key: value for entry in logged for key, value in entry.items() if not key.startswith('_')}
    assert last == pytest.approx(figures(run[0]))
    assert [entry['epoch'] for entry in logged if 'long_tail/few' in entry] == [1, 2]
    assert set(ARTIFACTS) <= {item.path for record in found for item in record.files.files}


def test_only_the_first_rank_logs(tmp_path):
    pytest.importorskip('tensorboard')
    toy_config(tmp_path / 'run', **{'train_cfg.max_epochs': 1}).dump(tmp_path / 'ce.py')
    result = run_on_two_ranks('tools/train.py', tmp_path / 'ce.py', '--tracker', 'tensorboard', '--seed', '3')
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(list((tmp_path / 'run').rglob('events.out.tfevents.*'))) == 1
    assert len(list((tmp_path / 'run').rglob('class_distribution.png'))) == 1
    assert Config.fromfile(tmp_path / 'run/ce.py').randomness.seed == 3

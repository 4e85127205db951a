import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from toy import toy_config
from toy_semi import WEAK
from toy_stages import run

from ltmm.engine.stages.pseudo_label_stage import accuracy_of_thirds
from ltmm.utils.errors import InputError


def write_configs(tmp_path, **changes):
    images = dict(type='ltmm.ToyImages', pipeline=[*WEAK, dict(type='PackInputs')])
    first, last = (toy_config(tmp_path / name, **{'train_cfg.max_epochs': 1}) for name in ('first', 'last'))
    first.dump(tmp_path / 'first.py')
    last.train_dataloader.dataset = dict(
        type='ltmm.PseudoLabeled',
        labeled=images,
        unlabeled=dict(images, counts=(3, 2, 7)),
        pseudo_labels='stage://pseudo_label',
        **changes,
    )
    last.stages = [
        dict(type='ltmm.TrainStage', config=str(tmp_path / 'first.py')),
        dict(type='ltmm.PseudoLabelStage'),
        dict(type='ltmm.TrainStage'),
    ]
    last.dump(tmp_path / 'last.py')
    return tmp_path / 'last.py'


def test_train_label_and_train_on_both_from_scratch(tmp_path, capsys):
    path = write_configs(tmp_path)
    final = run(path, tmp_path / 'work')
    content = json.loads((tmp_path / 'work/stage2_pseudo_label/pseudo_labels.json').read_text())
    labels = content['labels']
    assert len(labels) == 12 and set(labels) <= {0, 1, 2} and content['classes'] == [f'class {i}' for i in range(3)]
    state = torch.load(final, weights_only=True)['state_dict']
    counts = [count + labels.count(c) for c, count in enumerate((40, 16, 8))]
    assert state['head.loss_module.class_distribution.image_counts'].tolist() == counts
    assert 'labeled 12 images: all ' in capsys.readouterr().out
    last = Config.fromfile(next((tmp_path / 'work').glob('stage3*/*.py')))
    assert last.load_from is None
    again = run(path, tmp_path / 'work')  # finds all that is there
    assert again == final


def test_next_stage_without_pseudo_labels(tmp_path):
    path = write_configs(tmp_path)
    with pytest.raises(InputError, match="expected train_dataloader.dataset=dict.type='ltmm.PseudoLabeled'"):
        run(
            path,
            tmp_path / 'work',
            'train_dataloader.dataset._delete_=True',
            'train_dataloader.dataset.type=ltmm.ToyImages',
        )


def test_accuracy_of_thirds():
    truth, labels = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 0])
    got = accuracy_of_thirds(labels, truth, np.array([5, 20, 1]))
    assert got == pytest.approx(dict(all=0.5, many=1.0, medium=0.5, few=1 / 3))

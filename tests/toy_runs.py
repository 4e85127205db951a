"""Work dirs as tools/train.py and tools/test.py leave them, without training."""

import json

import numpy as np
import torch
from PIL import Image

from ltmm import ClassDistribution
from ltmm.evaluation.functional import class_scores
from ltmm.evaluation.reports import PerClassReport
from ltmm.utils.predictions import write_predictions

HOSTILE = ['<img src=x onerror="window.hacked=1">', '</script><script>window.hacked=1</script>', '\'"><b>&amp;%{x}']
CONFIG = """
import os
model = dict(head=dict(loss=dict(type={loss!r}), num_classes={num}))
param_scheduler = [dict(type='LinearLR', end=2), dict(milestones=[9, 11])]
randomness = dict(deterministic=False, seed={seed})
work_dir = {folder!r}
"""


def toy_run(folder, seed=0, loss='CrossEntropyLoss', names=HOSTILE, predictions=False, counts=None):
    """A run of a classifier; 12 test images per class."""
    num = len(names)
    counts = counts or [300 // (c + 1) ** 2 for c in range(num)]
    distribution = ClassDistribution(counts, class_names=tuple(names))
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(num), 12)
    scores = rng.dirichlet(np.ones(num), len(label))
    scores[np.arange(len(label)), label] += 2 / num
    scores /= scores.sum(1, keepdims=True)
    report = PerClassReport.from_scores(class_scores(scores.argmax(1), label, num), distribution, distribution.shots())
    log = folder / '20261129_101010'
    (log / 'vis_data').mkdir(parents=True)
    (log / 'per_class.csv').write_text(report.to_csv())
    lines = [dict(loss=3 / step, lr=0.1, time=0.2, data_time=0.05, step=step) for step in (10, 20, 30)]
    lines += [{'long_tail/balanced_accuracy': 10.0 * step, 'long_tail/few': 1.0, 'step': step} for step in (1, 2)]
    (log / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    (folder / 'toy_r8.py').write_text(CONFIG.format(loss=loss, seed=seed, num=num, folder=str(folder)))
    if predictions:
        picture = folder / 'x.png'
        Image.new('RGB', (300, 200), 'teal').save(picture)
        samples = [
            dict(pred_score=torch.tensor(s), gt_label=torch.tensor([y]), img_path=str(picture), sample_idx=i)
            for i, (s, y) in enumerate(zip(scores, label.tolist()))
        ]
        write_predictions(samples, folder / 'predictions.npz')
    return folder

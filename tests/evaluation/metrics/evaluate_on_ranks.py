"""Run on each rank: evaluate a test set on all ranks, and compare the figures with those of one process."""

import os
import sys

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmpretrain.structures import DataSample

from ltmm.evaluation import CalibrationMetric, LongTailMetric

COUNTS = [500, 300, 120, 60, 30, 12, 5]


def test_set(num):
    generator = torch.Generator().manual_seed(num)
    scores = torch.randn(num, len(COUNTS), generator=generator).softmax(1)
    return [DataSample().set_gt_label(i % len(COUNTS)).set_pred_score(score) for i, score in enumerate(scores)]


def figures(samples, batch_size, round_up):
    evaluator = Evaluator([LongTailMetric(class_counts=COUNTS), CalibrationMetric(ace=True, class_counts=COUNTS)])
    mine = [samples[i] for i in DefaultSampler(samples, shuffle=False, round_up=round_up)]
    for start in range(0, len(mine), batch_size):
        evaluator.process(mine[start : start + batch_size])
    return evaluator.evaluate(len(samples))


CASES = [(101, True), (101, False), (7, True), (1, True)]
os.chdir(sys.argv[1])  # where ranks exchange files
expected = [figures(test_set(num), 16, round_up) for num, round_up in CASES]
torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
for (num, round_up), one_process in zip(CASES, expected):
    got = figures(test_set(num), 16 - 5 * rank, round_up)  # ranks need not have equal batches
    # the bins of a class are summed in another order
    one_process['calibration/sce'] = pytest.approx(one_process['calibration/sce'], rel=1e-12)
    assert got == one_process, f'rank {rank}, {num} images, round_up={round_up}: {got} instead of {one_process}'
    print('equal on rank', rank)
torch.distributed.destroy_process_group()

"""Average precision of all classes of a multi-label test set, against a loop over the classes.

20,000 images and 1,000 classes, of which 300 to 1 of a thousand images are positive. The loop is over scikit-learn's
``average_precision_score`` where that is installed, and over the same steps in plain NumPy. They take turns; medians
are reported, and the largest difference between the figures. Processor time leaves out what other programs take;
``--wall`` has the clock's.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from ltmm.evaluation.functional import average_precision

try:
    from sklearn.metrics import average_precision_score
except ImportError:
    average_precision_score = None


def of_class(target: np.ndarray, score: np.ndarray) -> float:
    """Average precision of a class, as scikit-learn computes it, without its checks."""
    order = np.argsort(score, kind='stable')[::-1]
    score, target = score[order], target[order]
    ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # of runs of equal scores
    hits = np.cumsum(target)[ends]
    return float(np.diff(hits, prepend=0) @ (hits / (ends + 1)) / hits[-1])


def loop(one: Callable) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The figures of all classes, (C,), one after another."""
    return lambda scores, target: np.array([one(target[:, c], scores[:, c]) for c in range(scores.shape[1])])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=20_000)
    parser.add_argument('--classes', type=int, default=1_000)
    parser.add_argument('--runs', type=int, default=3, help='rounds, of which the median is reported')
    parser.add_argument('--wall', action='store_true', help="measure the clock's time")
    args = parser.parse_args()
    clock = time.perf_counter if args.wall else time.process_time
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    scores = rng.random((args.images, args.classes), dtype=np.float32)
    target = (rng.random(scores.shape) < np.geomspace(0.3, 0.001, args.classes)).astype(np.int8)
    target[0] = 1  # no class without a positive
    ways = dict(ltmm=average_precision, numpy=loop(of_class))
    if average_precision_score is None:
        print('scikit-learn is not installed: compared with the loop over NumPy alone')
    else:
        ways['scikit-learn'] = loop(average_precision_score)
    times, figures = {name: [] for name in ways}, {}
    for _ in range(args.runs):
        for name, way in ways.items():
            start = clock()
            figures[name] = way(scores, target)
            times[name].append(clock() - start)
    ours = statistics.median(times['ltmm'])
    for name in ways:
        seconds, difference = statistics.median(times[name]), np.abs(figures[name] - figures['ltmm']).max()
        print(f'{name:<14}{seconds:>7.2f} s{seconds / ours:>8.1f} times ours{difference:>12.1e} largest difference')


if __name__ == '__main__':
    main()

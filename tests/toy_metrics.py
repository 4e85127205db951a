"""Evaluation of samples by a metric, in one process or in parts as on several ranks."""

import pickle

from mmengine.evaluator import Evaluator


def evaluate(metric, samples, batch_size=16) -> dict[str, float]:
    """Return the figures without their prefix."""
    evaluator = Evaluator(metric)
    for start in range(0, len(samples), batch_size):
        evaluator.process(samples[start : start + batch_size])
    return {name.rpartition('/')[2]: value for name, value in evaluator.evaluate(len(samples)).items()}


def evaluate_on_ranks(build, samples, world_size) -> dict[str, float]:
    """Return the figures of a metric on ``world_size`` ranks, with the duplicates that DefaultSampler adds."""
    padded = [*samples, *samples][: -(-len(samples) // world_size) * world_size]
    metrics = [build() for _ in range(world_size)]
    for rank, metric in enumerate(metrics):
        mine = padded[rank::world_size]
        metric.process(None, [s if isinstance(s, dict) else s.to_dict() for s in mine])
    gathered = [result for row in zip(*(metric.results for metric in metrics)) for result in row]
    return metrics[0].compute_metrics(pickle.loads(pickle.dumps(gathered[: len(samples)])))

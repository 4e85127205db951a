"""Annotations of a tenth of LVIS v1 from the cache, against mmdet's LVISV1Dataset; on top of the imports.

``python tools/benchmarks/annotation_loading.py lvis.json`` measures all loaders on a file of
tools/dataset_tools/generate_lvis.py, each in a process of its own, with the seconds of class counts and repeat factors
and the memory in proportion to sharing (PSS) of a process and four forked workers that read every image.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pair import Pair, peak_memory

LOADERS = {
    'mmdet.LVISV1Dataset': ('mmdet.datasets', 'LVISV1Dataset'),
    'ltmm.LVISDataset': ('ltmm.datasets', 'LVISDataset'),
    'ltmm.CachedLVISDataset, first start': ('ltmm.datasets', 'CachedLVISDataset'),
    'ltmm.CachedLVISDataset, second start': ('ltmm.datasets', 'CachedLVISDataset'),
}
WORKERS = 4


def memory(field: str, pid: str | int = 'self') -> float:
    """Return a field of Linux's smaps_rollup, such as Pss, in MB."""
    with open(f'/proc/{pid}/smaps_rollup') as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(f'{field}:'))


def load(module: str, name: str, ann_file: str, workers: bool) -> dict:
    """Load the file once in this process and return what it took."""
    import importlib

    from ltmm.datasets.samplers import RepeatFactorSampler

    dataset_class = getattr(importlib.import_module(module), name)
    options = {} if name == 'LVISV1Dataset' else dict(check_files=False)
    before = memory('Rss')
    cpu, wall = time.process_time(), time.perf_counter()
    dataset = dataset_class(ann_file=ann_file, data_prefix=dict(img=''), pipeline=[], **options)
    result = dict(
        cpu_s=time.process_time() - cpu,
        wall_s=time.perf_counter() - wall,
        peak_mb=peak_memory() - before,
    )
    cpu = time.process_time()
    dataset[0]
    if hasattr(dataset, 'get_label_table'):
        dataset.get_label_table().class_distribution()
        result['class_counts_s'] = time.process_time() - cpu
        RepeatFactorSampler(dataset, threshold=1e-3, seed=0).repeat_factors  # noqa: B018
        result['counts_and_factors_s'] = time.process_time() - cpu
    if workers:
        pss = memory('Pss')
        children = []
        for _ in range(WORKERS):
            read, write = os.pipe()
            if (pid := os.fork()) == 0:
                for i in range(len(dataset)):
                    dataset.get_data_info(i)
                os.write(write, b'1')
                time.sleep(3600)
            children.append((pid, read))
        for _, read in children:
            os.read(read, 1)
        result['pss_alone_mb'] = pss
        result['pss_with_workers_mb'] = memory('Pss') + sum(memory('Pss', pid) for pid, _ in children)
        for pid, _ in children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    return result


def in_a_process(label: str, ann_file: str | Path, cache: str | Path, workers: bool = False) -> dict:
    """Return what loading takes in a process of its own."""
    command = [sys.executable, __file__, str(ann_file), '--one', *LOADERS[label], *['--workers'] * workers]
    env = {**os.environ, 'LTMM_CACHE': str(cache)}
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare() -> Iterator[Pair]:
    mmdet, _, first, second = LOADERS
    with tempfile.TemporaryDirectory() as folder:
        ann_file, cache = Path(folder, 'lvis.json'), Path(folder, 'cache')
        tool = Path(__file__).parents[1] / 'dataset_tools/generate_lvis.py'
        subprocess.run([sys.executable, tool, ann_file, '--fraction', '0.1'], check=True, stdout=subprocess.DEVNULL)

        def ours(label: str) -> dict:
            if label == first:
                shutil.rmtree(cache, ignore_errors=True)
            return in_a_process(label, ann_file, cache)

        reference = in_a_process(mmdet, ann_file, cache)['peak_mb']
        for label, max_ratio in ((first, 0.2), (second, 0.05)):
            yield Pair(
                label,
                lambda label=label: ours(label)['cpu_s'],
                lambda: in_a_process(mmdet, ann_file, cache)['cpu_s'],
                max_ratio=max_ratio,
                megabytes=lambda label=label: ours(label)['peak_mb'],
                max_megabytes=reference / 4,
            )


def main() -> None:
    """Measure all loaders, with the memory of four workers, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('ann_file')
    parser.add_argument('--workers', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--one', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(load(*args.one, args.ann_file, args.workers)))
        return
    with tempfile.TemporaryDirectory() as cache:
        for label in LOADERS:
            result = in_a_process(label, args.ann_file, cache, workers=True)
            print(f'{label:<38}' + ', '.join(f'{key} {value:.3g}' for key, value in result.items()), flush=True)


if __name__ == '__main__':
    main()

"""Compare how annotations are loaded: python tools/benchmarks/annotation_loading.py lvis.json

tools/dataset_tools/generate_lvis.py writes the file. Each loads it in its own process: CPU seconds, wall seconds and
peak memory, all on top of the imports; then memory in proportion to sharing (PSS) of a process and four forked workers
that read every image, and the seconds of class counts and repeat factors.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

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
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
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


def main() -> None:
    """Measure all loaders, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('ann_file')
    parser.add_argument('--only', choices=['mmdet', 'ltmm'], help='leave out the others')
    parser.add_argument('--workers', action='store_true', help='measure the memory of four workers too')
    parser.add_argument('--one', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(load(*args.one, args.ann_file, args.workers)))
        return
    with tempfile.TemporaryDirectory() as cache:
        for label, names in LOADERS.items():
            if args.only and not label.startswith(args.only):
                continue
            command = [sys.executable, __file__, args.ann_file, '--one', *names, *['--workers'] * args.workers]
            done = subprocess.run(
                command, env={**os.environ, 'LTMM_CACHE': cache}, check=True, stdout=subprocess.PIPE, text=True
            )
            result = json.loads(done.stdout.splitlines()[-1])
            print(f'{label:<38}' + ', '.join(f'{key} {value:.3g}' for key, value in result.items()), flush=True)


if __name__ == '__main__':
    main()

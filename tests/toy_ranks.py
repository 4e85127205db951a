"""Two processes that talk to one another, for tests of state that is equal on all ranks."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def on_ranks(function: Callable[[int], Any], folder: Path, world_size: int = 2) -> list:
    """``function(rank)`` of each rank, run in processes of their own; what it returns has to be picklable by torch."""
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=_run, args=(function, folder, r, world_size)) for r in range(world_size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)  # never on an idle machine
        assert process.exitcode == 0
    return [torch.load(folder / f'{r}.pth', weights_only=False) for r in range(world_size)]


def _run(function: Callable[[int], Any], folder: Path, rank: int, world_size: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=world_size)
    torch.save(function(rank), folder / f'{rank}.pth')
    dist.destroy_process_group()

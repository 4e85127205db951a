"""The settings of a run, read from its dumped config without running code."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltmm.utils.data_files import read_text

__all__ = ['differences', 'flat_settings', 'without_seed']

SEED = 'randomness.seed'
# differ between the seeds of a config
OF_ONE_RUN = ('work_dir', 'load_from', 'resume', 'launcher', 'vis_backends', 'visualizer')


def flat_settings(path: Path) -> dict[str, str]:
    """Return ``{'optim_wrapper.optimizer.lr': '0.1', ...}`` of a config that MMEngine dumped; other code stays text."""
    try:
        body = ast.parse(read_text(path)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    settings: dict[str, str] = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            _flatten(node.targets[0].id, _value(node.value), settings)
    return settings


def without_seed(settings: Mapping[str, str]) -> dict[str, str]:
    """Leave out what differs between runs of one config with several seeds."""
    return {key: value for key, value in settings.items() if key != SEED and key.split('.')[0] not in OF_ONE_RUN}


def differences(settings: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the values, one per run, of the settings that are not the same in all; a missing one is empty."""
    keys = dict.fromkeys(key for of_run in settings for key in without_seed(of_run))
    values = {key: [of_run.get(key, '') for of_run in settings] for key in keys}
    return {key: row for key, row in values.items() if len(set(row)) > 1}


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Dict):
        return {ast.unparse(key).strip('\'"'): _value(value) for key, value in zip(node.keys, node.values) if key}
    if isinstance(node, (ast.List, ast.Tuple)) and any(isinstance(item, (ast.Call, ast.Dict)) for item in node.elts):
        return {str(i): _value(item) for i, item in enumerate(node.elts)}
    return ast.unparse(node)


def _flatten(name: str, value: Any, settings: dict[str, str]) -> None:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _flatten(f'{name}.{key}', item, settings)
    else:
        settings[name] = value if isinstance(value, str) else 'dict()'

"""The runs of a table: configs, seeds, and the settings of a recipe."""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import yaml
from mmengine.config import Config, DictAction

from ltmm.utils.console import quiet_imports
from ltmm.utils.data_files import read_text
from ltmm.utils.references import resolve_references

from .run import Run, of_stage

__all__ = ['parsed', 'plan', 'read_recipe']


def plan(args: argparse.Namespace) -> list[Run]:
    """The requested runs, grouped by config."""
    recipe = read_recipe(args.recipe) if args.recipe else {}
    configs = args.configs or [args.recipe.parent / f'{name}.py' for name in recipe['methods']]
    stems = [config.stem for config in configs]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise ValueError(f'Expected configs of different names, but two are called {twice[0]}.')

    def runs_of(config: Path) -> list[Run]:
        with quiet_imports():
            cfg = Config.fromfile(config)
        options = [*settings(recipe, config.stem, from_scratch(cfg)), *args.cfg_options]
        try:
            cfg.merge_from_dict(parsed(of_stage(options, len(cfg.get('stages', [])))))
        except (KeyError, TypeError, AssertionError) as e:  # AssertionError: brackets that do not match
            raise ValueError(f'{config}: its settings do not fit ({e}): {" ".join(options)}') from None
        resolve_references(cfg)
        return [
            Run(config, cfg, seed, args.work_dir.resolve(), options, args.amp) for seed in dict.fromkeys(args.seeds)
        ]

    runs = {config.resolve(): runs_of(config) for config in configs}
    for group in list(runs.values()):
        config = first_trained(group[0].cfg)
        if not config or any(option.startswith('stages.') for option in group[0].options):
            continue
        firsts = runs.get(config.resolve()) or runs_of(config)
        if parsed(of_stage(group[0].options, 1)) == parsed(firsts[0].options):
            for run, first_stage in zip(group, firsts):
                run.first_stage = first_stage
    unit = (args.recipe.parent / f'{next(iter(recipe["methods"]))}.py' if recipe else configs[0]).resolve()
    baselines = runs.get(unit) or runs_of(unit)
    for group in runs.values():
        for run, baseline in zip(group, baselines):
            run.baseline = baseline
    return [run for group in runs.values() for run in group]


def read_recipe(file: Path) -> dict[str, dict]:
    """Read a recipe: a YAML file of settings, see tools/analysis_tools/run_table.py."""
    try:
        recipe = yaml.safe_load(read_text(file))
    except yaml.YAMLError as e:
        raise ValueError(f'{file} is no YAML file: {" ".join(str(e).split())}') from None
    if not isinstance(recipe, dict) or not recipe.get('methods') or set(recipe) - {'all', 'training', 'methods'}:
        got = list(recipe) if isinstance(recipe, dict) else recipe
        raise ValueError(f'{file}: expected `methods` and, as you like, `all` and `training`, but got {got}.')
    groups = {name: _mapping(file, name, recipe.get(name)) for name in ('all', 'training', 'methods')}
    groups['methods'] = {name: _mapping(file, name, own) for name, own in groups['methods'].items()}
    for group in [groups['all'], groups['training'], *groups['methods'].values()]:
        for key, value in group.items():
            if not _reads_back(key, value):
                raise ValueError(
                    f'{file}: expected {key} to be as on the command line, but got {value!r}. YAML takes 1e-4 for '
                    'text, 1.0e-4 for a number.'
                )
    return groups


def _mapping(file: Path, name: str, value: object) -> dict:
    if not isinstance(value, (dict, type(None))):
        raise ValueError(f'{file}: expected `{name}` to hold lines KEY: VALUE, but got {value!r}.')
    return value or {}


def _reads_back(key: str, value: object) -> bool:
    """Whether ``--cfg-options`` reads a setting as it is: no mapping, and no string with spaces or commas."""
    try:
        return value is None or parsed([_option(key, value)]) == {key: value}
    except AssertionError:  # brackets that do not match
        return False


def _option(key: str, value: object) -> str:
    return f'{key}={value}'.replace(' ', '')


def from_scratch(cfg: Config) -> list[str]:
    """The prefixes of settings for whole trainings: the first stage, and the next after a teacher or a pre-training."""
    if 'stages' not in cfg:
        return ['']
    kinds = [stage.type.removeprefix('ltmm.') for stage in cfg.stages]
    others = list(itertools.takewhile(lambda kind: kind in ('PretrainStage', 'TeacherStage'), kinds))
    return [f'stage{number}.' for number in range(1, min(len(others) + 1, len(kinds)) + 1)]


def settings(recipe: dict[str, dict], name: str, prefixes: Sequence[str]) -> list[str]:
    """The settings of a config as ``KEY=VALUE``; those of a later stage are named ``stage2.KEY``."""
    training = {f'{prefix}{key}': value for prefix in prefixes for key, value in recipe.get('training', {}).items()}
    found = recipe.get('all', {}) | training | recipe.get('methods', {}).get(name, {})
    return [_option(key, value) for key, value in found.items() if value is not None]


def parsed(options: list[str]) -> dict:
    """Overrides as ``--cfg-options`` reads them."""
    reader = argparse.ArgumentParser()
    reader.add_argument('--options', nargs='+', action=DictAction, default={})
    return reader.parse_args(['--options', *options] if options else []).options


def first_trained(cfg: Config) -> Path | None:
    """Return the config that the first stage trains; None if there are no stages, or it trains ``cfg`` itself."""
    first = (cfg.get('stages') or [{}])[0]
    is_training = first.get('type') in ('TrainStage', 'ltmm.TrainStage')
    return Path(first.config) if is_training and 'config' in first else None

"""The programs that Flower starts on the server and at the clients."""

import platform
import shlex
import sys
import uuid
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

from ltmm.utils.configs import load_config
from ltmm.utils.environment import EnvironmentProblem, check_extra
from ltmm.utils.errors import InputError
from ltmm.utils.launch import build_runner
from ltmm.utils.parsers import common_parser
from ltmm.utils.trackers import use_trackers
from ltmm.utils.work_dir import lock_work_dir

from .loops import FlowerClientLoop
from .messages import content_of, tensors_of

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp

__all__ = ['client_app', 'server_app']


def _check_flower() -> None:
    if sys.version_info < (3, 11):
        raise EnvironmentProblem(f'Flower needs Python >= 3.11, but this is {platform.python_version()}.')
    check_extra('federated', 'flwr')


def client_app() -> 'ClientApp':
    """Return the app of a client, which trains as the config says on the images of its ``partition-id``.

    The run's config has ``config``, the path of a config with a :class:`FederatedTrainLoop`, and ``cfg-options``. The
    node's has ``partition-id``, the index of the client, and may have ``cfg-options`` of its own.
    """
    _check_flower()
    from flwr.app import Message
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.query()
    def query(message: Message, context: 'Context') -> Message:
        with TemporaryDirectory() as folder:
            client, loop = _client_of(context, folder)
            return Message(content_of({'client': client, 'num-examples': loop.sizes[client]}), reply_to=message)

    @app.train()
    def train(message: Message, context: 'Context') -> Message:
        request = message.content['config']
        with TemporaryDirectory() as folder:
            client, loop = _client_of(context, folder, request['seed'])
            answer = loop.answer(client, request, tensors_of(message.content, 'state'))
        return Message(content_of({}, **answer), reply_to=message)

    return app


def server_app() -> 'ServerApp':
    """Return the app of the server, which runs the rounds, validates and writes checkpoints as the config says.

    The run's config has ``config``, the path of a config with a :class:`FederatedTrainLoop`, and may have
    ``cfg-options``, ``work-dir``, ``timeout`` in seconds, and ``resume``.
    """
    _check_flower()
    from flwr.serverapp import ServerApp

    app = ServerApp()

    @app.main()
    def main(grid: 'Grid', context: 'Context') -> None:
        run = context.run_config
        cfg = _read(run, 'ltmm.FlowerServerLoop')
        if isinstance(cfg.train_cfg.clients, int):
            cfg.train_dataloader.dataset = dict(type='ltmm.PlaceholderDataset', num_classes=cfg.model.head.num_classes)
            for hook in cfg.custom_hooks:
                if hook.type == 'ltmm.ClassDistributionHook':
                    hook.max_table_rows = 0  # nobody knows the counts yet
            cfg.train_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
        cfg.param_scheduler = None  # only clients step schedules
        lock_work_dir(cfg.work_dir)
        cfg.resume = bool(run.get('resume', False))
        use_trackers(cfg)
        runner = build_runner(cfg)
        runner.train_loop.connect(grid, float(run.get('timeout', 3600)))
        runner.train()

    return app


def _read(run: Mapping[str, Any], loop: str, own: str = '') -> Config:
    """Read the config of a run, with the options of a node, for another loop."""
    words, options = [run['config']], shlex.split(f'{run.get("cfg-options", "")} {own}')
    words += ['--work-dir', run['work-dir']] if run.get('work-dir') else []
    words += ['--cfg-options', *options] if options else []
    cfg = load_config(common_parser('A run of Flower.').parse_args(words))
    if cfg.train_cfg.get('type') != 'ltmm.FederatedTrainLoop':
        found = cfg.train_cfg.get('type')
        raise InputError(f'{run["config"]}: expected train_cfg.type to be ltmm.FederatedTrainLoop, but got {found}.')
    cfg.train_cfg.type = loop
    return cfg


def _client_of(context: 'Context', work_dir: str, seed: int | None = None) -> tuple[int, FlowerClientLoop]:
    """Build the loop of a node; return the index of its client, too."""
    node = context.node_config
    if node.get('partition-id') is None:
        raise InputError("A client needs its index: flower-supernode --node-config 'partition-id=0'.")
    cfg = _read({**context.run_config, 'work-dir': work_dir}, 'ltmm.FlowerClientLoop', node.get('cfg-options', ''))
    for name in ('val', 'test'):
        cfg.update({f'{name}_cfg': None, f'{name}_dataloader': None, f'{name}_evaluator': None})
    cfg.load_from, cfg.resume, cfg.experiment_name = None, False, uuid.uuid4().hex  # the server sends the weights
    cfg.default_hooks.checkpoint = None
    cfg.visualizer = dict(type='Visualizer')
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    client, loop = int(node['partition-id']), build_runner(cfg).train_loop
    if not 0 <= client < loop.num_clients:
        raise InputError(
            f'Expected partition-id to be in 0 to {loop.num_clients - 1}, but got {client}: set it in --node-config.'
        )
    return client, loop

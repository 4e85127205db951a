"""Flower's apps of federated training: ``flwr run tools/flower``, see ltmm/tasks/federated/README.md."""

import ltmm  # noqa: F401  (registers scope 'ltmm' before a config is read)
from ltmm.tasks import federated

client_app = federated.client_app()
server_app = federated.server_app()

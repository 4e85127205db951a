"""Clients on other machines, through Flower: the same rounds, and the same weights, as in one process.

Flower carries the messages. :class:`FlowerServerLoop` is a :class:`FederatedTrainLoop` whose clients are remote; each
client runs a :class:`FlowerClientLoop`. flwr is imported only where it is used.
"""

from .apps import client_app, server_app
from .loops import FlowerClientLoop, FlowerServerLoop, PlaceholderDataset
from .messages import RemoteClients

__all__ = ['FlowerClientLoop', 'FlowerServerLoop', 'PlaceholderDataset', 'RemoteClients', 'client_app', 'server_app']

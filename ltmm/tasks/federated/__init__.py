"""Federated learning on long-tailed data: clients, proxy class counts, experts for groups of clients."""

from .aggregate import ClientUpdate, fedavg, why_invalid
from .client import copy_state, cross_entropy_step, load_state, train_client, train_one_expert
from .flower import FlowerClientLoop, FlowerServerLoop, PlaceholderDataset, RemoteClients, client_app, server_app
from .loop import ExpertRounds, Faults, FederatedTrainLoop
from .losses import GBMELoss, LADELoss, lade_regularizer
from .partition import ClientData, client_class_counts, dirichlet_partition
from .plot_proxy import plot_proxy
from .proxy import ProxyNoise, class_growth, estimate_counts, in_place_growth, total_counts
from .selection import group_clients, select_clients, select_from_group

__all__ = [
    'ClientData',
    'ClientUpdate',
    'ExpertRounds',
    'Faults',
    'FederatedTrainLoop',
    'FlowerClientLoop',
    'FlowerServerLoop',
    'GBMELoss',
    'LADELoss',
    'PlaceholderDataset',
    'ProxyNoise',
    'RemoteClients',
    'class_growth',
    'client_app',
    'client_class_counts',
    'copy_state',
    'cross_entropy_step',
    'dirichlet_partition',
    'estimate_counts',
    'fedavg',
    'group_clients',
    'in_place_growth',
    'lade_regularizer',
    'load_state',
    'plot_proxy',
    'select_clients',
    'select_from_group',
    'server_app',
    'total_counts',
    'train_client',
    'train_one_expert',
    'why_invalid',
]

# CIFAR100-LT at 100 clients; FedAvg with cross entropy. Rates and rounds as in the published code of GBME.
_base_ = '../cifar100_lt/ce_r32.py'
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.6, weight_decay=5e-4))
param_scheduler = [dict(type='MultiStepLR', milestones=[1600], gamma=0.05)]
train_cfg = dict(
    _delete_=True,
    type='ltmm.FederatedTrainLoop',
    clients=dict(num_clients=100, alpha=0.1, min_size=10),
    clients_per_round=20,
    local_epochs=2,
    max_rounds=2000,
    val_interval=50,
    prior='global',
)

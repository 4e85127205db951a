_base_ = './ewta_eth.py'
model = dict(
    decoder=dict(hyper=dict(hyper_hidden=64, hyper_channels=32)),
    contrast=dict(type='ltmm.PrototypeContrast', num_clusters=(20, 50, 100)),
)

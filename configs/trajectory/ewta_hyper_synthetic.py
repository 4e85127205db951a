_base_ = './ewta_synthetic.py'
model = dict(decoder=dict(hyper=dict(hyper_hidden=64, hyper_channels=32)))

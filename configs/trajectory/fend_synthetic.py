_base_ = './ewta_hyper_synthetic.py'
model = dict(contrast=dict(type='ltmm.PrototypeContrast', num_clusters=(20, 50, 100)))

_base_ = './paco_r50.py'
model = dict(type='ltmm.PerViewClassifier', head=dict(loss=dict(type='ltmm.GPaCoLoss')))
optim_wrapper = dict(optimizer=dict(lr=0.04))

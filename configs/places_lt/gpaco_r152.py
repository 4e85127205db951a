_base_ = './paco_r152.py'
model = dict(type='ltmm.PerViewClassifier', head=dict(loss=dict(type='ltmm.GPaCoLoss')))
optim_wrapper = dict(type='AmpOptimWrapper')

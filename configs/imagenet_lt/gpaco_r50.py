_base_ = './paco_r50.py'
model = dict(type='ltmm.PerViewClassifier', head=dict(loss=dict(type='ltmm.GPaCoLoss', alpha=0.045)))
train_dataloader = dict(dataset=dict(pipeline={{_base_.gpaco_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=0.04))

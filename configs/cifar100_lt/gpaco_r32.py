# GPaCo with the settings of PaCo: its authors trained it on CIFAR-100 only, not on CIFAR-100-LT.
_base_ = './paco_r32.py'
model = dict(type='ltmm.PerViewClassifier', head=dict(loss=dict(type='ltmm.GPaCoLoss')))

# AREA without augmentation: the features are fixed.
_base_ = './ce.py'
area = dict(type='ltmm.AREAReweighting', start_epoch=16, batch_size=128, augmented=False)
model = dict(head=dict(loss=dict(_delete_=True, loss=dict(type='CrossEntropyLoss'), **area)))

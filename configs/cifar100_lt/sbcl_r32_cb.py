# SBCL with the rule 'CB' of its code: a linear classifier by class-aware sampling, 45 epochs.
_base_ = './sbcl_r32.py'
model = dict(head=dict(classifier=dict(type='ltmm.Linear'), loss=dict(_delete_=True, type='CrossEntropyLoss')))
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler'))
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(max_epochs=45)

# The second stage of LMR, its constants for SSv2-LT. The features are given, so there is no first one.
_base_ = './linear_ssv2_lt.py'
model = dict(head=dict(type='ltmm.LMRHead', scale=0.25, max_share=0.6, min_share=0.001, mix_prob=0.5, bank_size=1024))
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=1))

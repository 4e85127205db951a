# The second stage of LMR on VideoLT, with its constants for SSv2-LT.
_base_ = './linear_videolt.py'
model = dict(head=dict(type='ltmm.LMRHead', scale=0.25, max_share=0.6, min_share=0.001, mix_prob=0.5, bank_size=1024))
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=1))

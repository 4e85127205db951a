# BALMS on fixed features: balanced softmax, class rates learned by the meta sampler.
_base_ = './ce.py'
model = dict(head=dict(loss=dict(_delete_=True, type='ltmm.BalancedSoftmaxLoss')))
custom_hooks = [*_base_.custom_hooks, dict(type='ltmm.MetaSamplerHook')]
train_dataloader = dict(sampler=dict(_delete_=True, type='ltmm.MetaSampler'))

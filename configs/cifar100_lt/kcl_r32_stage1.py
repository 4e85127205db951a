# KCL, pre-training of kcl_r32. Its authors have no CIFAR recipe; this is that of SBCL.
_base_ = './supcon_r32_stage1.py'
model = dict(head=dict(loss=dict(type='ltmm.KCLLoss')))

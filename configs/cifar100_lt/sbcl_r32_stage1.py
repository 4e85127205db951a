# SBCL, pre-training of sbcl_r32: SupCon for 10 epochs, then sub-classes, clustered again every 10 epochs.
_base_ = './supcon_r32_stage1.py'
model = dict(head=dict(loss=dict(type='ltmm.SubclassBalancedContrastiveLoss')))

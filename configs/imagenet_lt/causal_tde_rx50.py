# The authors' recipe of Causal TDE (github.com/KaihuaTang/Long-Tailed-Recognition.pytorch @5c916d0). Their schedule is
# stepped before each epoch: the last one has rate 0.
_base_ = './ce_rx50.py'
model = dict(
    head=dict(classifier=dict(type='ltmm.CausalCosine', mode='tde', num_heads=2, alpha=3.0, lr_bound=0.02)),
)
param_scheduler = dict(_delete_=True, type='ltmm.ShiftedCosineLR', reaches_zero=True)

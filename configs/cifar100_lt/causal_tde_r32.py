# Causal TDE: de-confounded training, prediction without the part along the mean direction of the features.
_base_ = './ce_r32.py'
model = dict(head=dict(classifier=dict(type='ltmm.CausalCosine', mode='tde', num_heads=2, alpha=1.5)))

_base_ = './ce.py'
model = dict(head=dict(classifier=dict(type='ltmm.CausalCosine', mode='tde', num_heads=2, alpha=1.5)))
optim_wrapper = dict(optimizer=dict(lr=0.1))  # cosine logits do not scale with the features

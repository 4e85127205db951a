_base_ = './ce.py'
model = dict(head=dict(classifier=dict(type='ltmm.NormedLinear'), loss=dict(_delete_=True, type='ltmm.LDAMLoss')))
optim_wrapper = dict(optimizer=dict(lr=0.1))  # cosine logits do not scale with the features

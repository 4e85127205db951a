# Linear classifier on cached features.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ltmm.IdentityBackbone'),
    head=dict(type='ltmm.LongTailClsHead', loss=dict(type='CrossEntropyLoss')),
)

# The teacher of ride_distill_r32.py: 6 experts.
_base_ = './ride_r32.py'
model = dict(backbone=dict(num_experts=6), head=dict(num_experts=6))

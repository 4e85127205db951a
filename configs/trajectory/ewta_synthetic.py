_base_ = [
    '../_base_/datasets/synthetic_trajectories.py',
    '../_base_/models/trajectory_ewta.py',
    '../_base_/schedules/trajectory_25e.py',
    '../_base_/trajectory_runtime.py',
]

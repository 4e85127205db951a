# LSTM encoder and LSTM decoder of 20 futures, trained by winner-takes-all.
model = dict(
    type='ltmm.TrajectoryPredictor',
    data_preprocessor=dict(type='ltmm.TrajectoryDataPreprocessor'),
    encoder=dict(type='ltmm.TrajectoryEncoder', hidden=32),
    decoder=dict(type='ltmm.TrajectoryDecoder', hidden=64, horizon=12, num_predictions=20),
    loss=dict(type='ltmm.EWTALoss', interval=5),
)

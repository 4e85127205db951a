import torch

from ltmm.registry import MODELS


def test_averages_from_the_initial_weights_on():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    average = MODELS.build(dict(type='ltmm.AverageFromStart', momentum=0.1), default_args=dict(model=model))
    expected = model[0].weight.detach().clone()
    for _ in range(3):
        with torch.no_grad():
            model[0].weight += torch.randn(2, 2)
        model(torch.randn(4, 2))
        average.update_parameters(model)
        expected = 0.9 * expected + 0.1 * model[0].weight.detach()
    torch.testing.assert_close(average.module[0].weight, expected)
    assert not average.module[0].weight.requires_grad and average.steps == 3
    for name, buffer in model.named_buffers():
        assert torch.equal(average.module.get_buffer(name), buffer)

import pytest

from ltmm.utils.errors import InputError, InputTypeError, MissingInputError, did_you_mean


@pytest.mark.parametrize('error, builtin', [(InputTypeError, TypeError), (MissingInputError, RuntimeError)])
def test_input_errors_are_builtin_errors_too(error, builtin):
    assert issubclass(error, InputError) and issubclass(error, (builtin, ValueError))


@pytest.mark.parametrize(
    'name, expected',
    [
        ('balancedsoftmaxlos', ' Did you mean BalancedSoftmaxLoss?'),
        ('RIDElos', ' Did you mean RIDELoss?'),
        ('tua', ' Did you mean tau?'),
        ('x', ''),
    ],
)
def test_did_you_mean(name, expected):
    assert did_you_mean(name, ['BalancedSoftmaxLoss', 'RIDELoss', 'tau']) == expected

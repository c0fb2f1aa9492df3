"""Parameters that rest for an epoch: no gradient, no weight decay, and the statistics of their batch norm stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def at_rest(model: nn.Module, prefixes: Sequence[str]) -> Iterator[None]:
    """Within it, the parameters of `model` (in training mode) whose names begin with one of `prefixes` are not trained.

    Optimizers leave out what has no gradient, so neither weight decay nor an old momentum moves it.
    """
    begins = tuple(prefixes)
    own = {name: parameter for name, parameter in model.named_parameters() if name.startswith(begins)}
    unknown = [prefix for prefix in begins if not any(name.startswith(prefix) for name in own)]
    if unknown:
        raise ValueError(
            f"nothing can be frozen by {unknown[0]!r}: no parameter's name begins so; "
            f"the first is {next(iter(dict(model.named_parameters())), 'none')}"
        )
    frozen = [parameter for parameter in own.values() if parameter.requires_grad]
    if frozen and not any(parameter.requires_grad for name, parameter in model.named_parameters() if name not in own):
        raise ValueError(f"{', '.join(begins)} freezes all parameters, so that nothing is left to train")
    resting = [
        module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.training and f"{name}.".startswith(begins)
    ]
    for parameter in frozen:
        parameter.requires_grad_(False)
    for module in resting:
        module.eval()
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for module in resting:
            module.train()

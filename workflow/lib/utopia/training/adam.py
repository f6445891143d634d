"""Adam by torch's own kernel, without `torch.optim.Adam`: constructing that imports torch's compiler, 4 seconds in
every job.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.adam import adam

from utopia.config.training import Training

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Adam (Kingma and Ba, 2015) with an L2 term in the gradient, as `torch.optim.Adam(fused=True)`."""

    def __init__(self, parameters: Sequence[Parameter], learning_rate: float, weight_decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self._mean = [torch.zeros_like(p) for p in self.parameters]
        self._square = [torch.zeros_like(p) for p in self.parameters]
        self._steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters by their gradients, then forget these. A parameter without a gradient stays."""
        met = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        if not met:
            return
        adam(
            [self.parameters[i] for i in met],
            [self.parameters[i].grad for i in met],  # type: ignore[misc]
            [self._mean[i] for i in met],
            [self._square[i] for i in met],
            [],
            [self._steps[i] for i in met],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )
        for p in self.parameters:
            p.grad = None

    def state(self) -> dict[str, Tensor]:
        """The moments and step counts: the tensors themselves."""
        kinds = {"mean": self._mean, "square": self._square, "steps": self._steps}
        return {f"{kind}.{i}": tensor for kind, tensors in kinds.items() for i, tensor in enumerate(tensors)}


class RecipeStep:
    """One step by the recipe: clip the gradients, step, forget them."""

    def __init__(self, parameters: Sequence[Parameter], recipe: Training) -> None:
        self.parameters = list(parameters)
        self.optimiser = Adam(self.parameters, recipe.learning_rate, recipe.weight_decay)
        self._clip_norm = recipe.clip_norm

    def __call__(self) -> None:
        """Do it."""
        if self._clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self._clip_norm)
        self.optimiser.step()

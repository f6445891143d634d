"""K networks of one shape as one network whose parameters have a leading axis K, and their optimiser.

Parameters, gradients and both moments are one buffer [K, N] each, so that an update of all replicas is a handful of
kernels, and a replica's norm is a norm over one axis. Replicas count their steps alone: one may start when others are
half done.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from utopia.config.training import Training
from utopia.training.adam import BETAS, EPSILON
from utopia.training.network import Network


class Stack:
    """K stacked networks. In shapes: N values of one network's parameters."""

    def __init__(self, networks: Sequence[Network], recipe: Training) -> None:
        first = networks[0]
        self._shapes = {name: parameter.shape for name, parameter in first.named_parameters()}
        # views of one buffer are not laid out as autograd would choose; that costs it nothing here
        warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")
        self._buffers = [name for name, _ in first.named_buffers()]
        self._recipe = recipe
        self.network = copy.deepcopy(first)
        """All K, in training mode; gradients gather in `gradient_KN`."""
        self._some = copy.deepcopy(first).eval()
        self.value_KN = torch.stack([_flat(network) for network in networks])
        self.buffers = {name: torch.stack([n.get_buffer(name) for n in networks]) for name in self._buffers}
        self.mean_KN, self.square_KN = torch.zeros_like(self.value_KN), torch.zeros_like(self.value_KN)
        self._columns = [slice(0, self.value_KN.shape[1])]
        self.steps_KG = self.value_KN.new_zeros(len(networks), 1)
        self._bind()

    def some(self, chosen: Sequence[int]) -> Network:
        """Some of the networks, in evaluation mode, as they are now."""
        index = torch.tensor(chosen, device=self.value_KN.device)
        self._set(self._some, self.value_KN.index_select(0, index), {n: b[index] for n, b in self.buffers.items()})
        return self._some

    def parameters_of(self, k: int) -> dict[str, Tensor]:
        """The state of one network, by the names of `Network.state_dict`; views of what changes."""
        state = dict(zip(self._shapes, _unflat(self.value_KN[k], list(self._shapes.values())), strict=True))
        return state | {name: self.buffers[name][k] for name in self._buffers}

    def moving(self, k: int) -> dict[str, Tensor]:
        """All that changes of one network: views."""
        kinds = {"value": self.value_KN, "mean": self.mean_KN, "square": self.square_KN, "steps": self.steps_KG}
        return {f"stack/{kind}": tensor[k] for kind, tensor in kinds.items()}

    @torch.no_grad()
    def put(self, k: int, network: Network) -> None:
        """Let a new network replace one."""
        self.value_KN[k] = _flat(network)
        for tensor in (self.mean_KN, self.square_KN, self.steps_KG, self.gradient_KN):
            tensor[k] = 0
        for name in self._buffers:
            self.buffers[name][k] = network.get_buffer(name)

    @torch.no_grad()
    def keep(self, chosen: Sequence[int]) -> None:
        """Give up all other networks."""
        index = torch.tensor(chosen, device=self.value_KN.device)
        self.value_KN, self.mean_KN = self.value_KN[index], self.mean_KN[index]
        self.square_KN, self.steps_KG = self.square_KN[index], self.steps_KG[index]
        self.buffers = {name: buffer[index] for name, buffer in self.buffers.items()}
        self._bind()

    def group(self, parameters: Sequence[nn.Parameter]) -> int:
        """Let some consecutive parameters of the stacked network have steps of their own; the number for `update`."""
        wanted = {id(parameter) for parameter in parameters}
        columns, column = [], 0
        for parameter, shape in zip(self.network.parameters(), self._shapes.values(), strict=True):
            if id(parameter) in wanted:
                columns.append((column, column + shape.numel()))
            column += shape.numel()
        own = slice(columns[0][0], columns[-1][1])
        assert own.stop - own.start == sum(stop - start for start, stop in columns), "they are not consecutive"
        self._columns.append(own)
        self.steps_KG = torch.cat([self.steps_KG, torch.zeros_like(self.steps_KG[:, :1])], dim=1)
        return len(self._columns) - 1

    @torch.no_grad()
    def update(
        self,
        learning_rates: Sequence[float] | None = None,
        decays: Sequence[float] | None = None,
        group: int = 0,
        moves: Sequence[bool] | None = None,
    ) -> None:
        """One step of every replica by the recipe (see `adam.Adam`): clip its gradient, step, forget it.

        Args:
            learning_rates: of each replica, where they are not the recipe's.
            decays: the weight decay of each, likewise.
            group: which parameters; 0: all.
            moves: which replicas take the step; None: all.
        """
        recipe, own = self._recipe, self._columns[group]
        rate, decay = self._each(learning_rates, recipe.learning_rate), self._each(decays, recipe.weight_decay)
        buffers = [tensor[:, own] for tensor in (self.value_KN, self.gradient_KN, self.mean_KN, self.square_KN)]
        buffers.append(self.steps_KG[:, group : group + 1])
        if moves is None or all(moves):
            self._step(buffers, rate, decay)
        else:
            index = torch.tensor([k for k, moved in enumerate(moves) if moved], device=self.value_KN.device)
            rate, decay = (value[index] if isinstance(value, Tensor) else value for value in (rate, decay))
            moving = [buffer.index_select(0, index) for buffer in buffers]
            self._step(moving, rate, decay)
            for buffer, moved in zip(buffers, moving, strict=True):
                buffer.index_copy_(0, index, moved)
        buffers[1].zero_()

    def _step(self, buffers: Sequence[Tensor], rate: float | Tensor, decay: float | Tensor) -> None:
        """The step, in place; of values, gradients, both moments and numbers of steps."""
        value_KN, g_KN, mean_KN, square_KN, steps_K1 = buffers
        clip_norm = self._recipe.clip_norm
        if clip_norm is not None:
            norm_K1 = torch.linalg.vector_norm(g_KN, dim=1, keepdim=True)
            g_KN.mul_((clip_norm / (norm_K1 + 1e-6)).clamp_(max=1.0))
        if isinstance(decay, Tensor):
            g_KN.addcmul_(value_KN, decay)
        elif decay:
            g_KN.add_(value_KN, alpha=decay)
        steps_K1 += 1
        mean_KN.lerp_(g_KN, 1 - BETAS[0])
        square_KN.mul_(BETAS[1]).addcmul_(g_KN, g_KN, value=1 - BETAS[1])
        # torch's kernel takes these two numbers in double precision: 1 - .999^1 in single precision is off by 5e-5
        step_K1 = steps_K1.double()
        rate_K1 = (-rate / (1 - BETAS[0] ** step_K1)).to(g_KN.dtype)
        root_KN = square_KN.sqrt().div_((1 - BETAS[1] ** step_K1).sqrt_().to(g_KN.dtype)).add_(EPSILON)
        value_KN.addcdiv_(mean_KN * rate_K1, root_KN)

    def _each(self, values: Sequence[float] | None, common: float) -> float | Tensor:
        """One number where all are the same, else [K, 1]."""
        if not values or len(set(values)) == 1:
            return values[0] if values else common
        return torch.tensor(values, dtype=torch.float64, device=self.value_KN.device)[:, None]

    def _bind(self) -> None:
        """Make the network's parameters and gradients views of the buffers."""
        self.gradient_KN = torch.zeros_like(self.value_KN)
        self._set(self.network, self.value_KN, self.buffers)
        views = _unflat(self.gradient_KN, list(self._shapes.values()))
        for parameter, view in zip(self.network.parameters(), views, strict=True):
            parameter.grad = view

    def _set(self, network: Network, value_KN: Tensor, buffers: dict[str, Tensor]) -> None:
        for name, view in zip(self._shapes, _unflat(value_KN, list(self._shapes.values())), strict=True):
            owner, leaf = _owner(network, name)
            owner._parameters[leaf] = nn.Parameter(view)
        for name in self._buffers:
            owner, leaf = _owner(network, name)
            owner._buffers[leaf] = buffers[name][:, None]


def _flat(network: Network) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def _unflat(value: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Views of the last axis in these shapes."""
    pieces = value.split([shape.numel() for shape in shapes], dim=-1)
    return [piece.view((*piece.shape[:-1], *shape)) for piece, shape in zip(pieces, shapes, strict=True)]


def _owner(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return network.get_submodule(path), leaf

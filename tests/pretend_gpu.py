"""A device that is not there: tensors on it say `meta`, hold their values in main memory, and keep a GPU's rules.

No test here has a GPU, and code that mixes devices runs on a CPU without a word. Under `pretend()` a tensor that was
moved to `DEVICE` refuses to be computed with one that was not, to be read by NumPy before it came back, and to run
what torch's deterministic mode refuses on CUDA; all else is computed, so that whole trainings run, with real numbers.
A tensor without dimensions may come from main memory, and so may an index, as on CUDA.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

DEVICE = torch.device("meta")
MOVES = ("_to_copy", "copy_", "_copy_from", "lift_fresh", "_pin_memory")
TAKES_INDEX = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
MAKES = (torch.tensor, torch.as_tensor, torch.asarray)
REFUSED = (
    r"_?adaptive_(avg|max)_pool[23]d_backward|avg_pool3d_backward|max_pool3d_with_indices_backward|put_?|histc|"
    r"kthvalue|reflection_pad[123]d_backward|upsample_(linear1d|bilinear2d|bicubic2d|trilinear3d)_backward|"
    r"grid_sampler_[23]d_backward|nll_loss2d|max_unpool[23]d|_ctc_loss_backward"
)
"""What has no deterministic way on CUDA (`torch.use_deterministic_algorithms`), whatever it is given."""


class OnDevice(Tensor):
    """A tensor on the device."""

    held: Tensor
    """Its values."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
            requires_grad=inner.requires_grad,
        )
        made.held = inner
        return made  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.held!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.numpy or func is Tensor.__array__:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first.")
        if func is Tensor.tolist:
            return args[0].detach().cpu().tolist()
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1], dtype=None if args[1] else torch.long), *args[2:])
        if func == Tensor.data.__set__:  # type: ignore[attr-defined]
            args[0].held = args[1].held
        with torch._C.DisableTorchFunctionSubclass():  # which would call what came back to main memory one of these
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Generator(torch.Generator):
    """A stream of random numbers on a device."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls, device="cpu")
        made.on_device = torch.device(device) == DEVICE
        return made

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__()

    on_device: bool

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it says it is."""
        return DEVICE if self.on_device else torch.device("cpu")

    def manual_seed(self, seed: int) -> Generator:
        """The same stream anew."""
        super().manual_seed(seed)
        return self


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors among an operation's arguments. They hold lists at most: `torch.utils._pytree` is slower by half."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors_in(part)


def each_tensor(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Arguments or a result of an operation, with each tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)([each_tensor(change, part) for part in value])
    if isinstance(value, dict):
        return {name: each_tensor(change, part) for name, part in value.items()}
    return value


def values_of(tensor: Tensor) -> Tensor:
    """A tensor of main memory with its values."""
    return tensor.held if isinstance(tensor, OnDevice) else tensor


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation by the rules of a GPU."""
    name = func.overloadpacket.__name__
    tensors = [*tensors_in(args), *tensors_in(list(kwargs.values()))]
    there = any(isinstance(value, OnDevice) for value in tensors)
    device = kwargs.get("device")
    wanted = there if device is None else torch.device(device) == DEVICE
    if there and name not in MOVES:
        indices = list(tensors_in(args[1])) if name in TAKES_INDEX else []
        for value in tensors:
            plain = not isinstance(value, OnDevice) and value.dim() > 0
            if plain and not any(value is index for index in indices):
                raise RuntimeError(f"{func}: all tensors must be on one device, one of {tuple(value.shape)} is not")
    if wanted and name not in MOVES:
        refuse(func, name, args, kwargs)
    inner_args, inner_kwargs = each_tensor(values_of, args), each_tensor(values_of, kwargs)
    if device is not None and torch.device(device) == DEVICE:
        inner_kwargs["device"] = torch.device("cpu")
    if name == "_to_copy" and isinstance(args[0], OnDevice) != wanted:
        inner_kwargs.pop("device")
        inner_kwargs.pop("non_blocking", None)
        made = func(*inner_args, **inner_kwargs)
        return OnDevice(made) if wanted else made
    out = func(*inner_args, **inner_kwargs)
    if not wanted:
        return out
    out = each_tensor(lambda value: value if isinstance(value, OnDevice) else OnDevice(value), out)
    return return_and_correct_aliasing(func, args, kwargs, out) if there else out


def refuse(func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> None:
    """Raise for what deterministic mode refuses on CUDA."""
    sums = name in ("cumsum", "cumsum_", "cumprod") and args[0].dtype.is_floating_point
    counts = name == "bincount" and ((len(args) > 1 and args[1] is not None) or kwargs.get("weights") is not None)
    middle = name == "median" and len(args) > 1
    if sums or counts or middle or re.fullmatch(REFUSED, name):
        raise RuntimeError(f"{func} does not have a deterministic implementation on CUDA")


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What is not seen below: `torch.tensor` and its like make in main memory, then move; which generator it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if isinstance(generator := kwargs.get("generator"), Generator):
            device = kwargs.get("device")
            there = any(isinstance(one, OnDevice) for one in args)
            wanted = there if device is None else torch.device(device) == DEVICE
            if wanted != generator.on_device:
                raise RuntimeError(f"{func}: expected a generator where the tensor is, found one on {generator.device}")
        if func in MAKES and kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE:
            kwargs.pop("device")
            return func(*args, **kwargs).to(DEVICE)
        return func(*args, **kwargs)


def _no_grad(self: Any) -> None:
    self.grad_before = torch.is_grad_enabled()
    torch.set_grad_enabled(not self.mode and self.grad_before)


def _grad_again(self: Any, *_: Any) -> None:
    torch.set_grad_enabled(self.grad_before)


@contextmanager
def pretend(monkeypatch: Any) -> Iterator[torch.device]:
    """Within, `DEVICE` is a GPU."""
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for this device
    # views of such tensors cannot be made in inference mode
    mode = torch.autograd.grad_mode.inference_mode
    monkeypatch.setattr(mode, "__enter__", _no_grad)
    monkeypatch.setattr(mode, "__exit__", _grad_again)
    fork: Callable[..., Any] = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices=(), **more: fork(devices=[], **more))
    with _Functions(), _Operations():
        yield DEVICE

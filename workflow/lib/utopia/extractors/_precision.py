"""In which precision a network computes, and how far that is from float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from utopia import memory
from utopia.extractors._common import device_of


def one_thread() -> None:
    """Let each operation run on one core: others decode, and the number of threads would change the last bits. Freed
    memory is kept for the next batch."""
    torch.set_num_threads(1)
    memory.keep_freed()


@contextmanager
def precision(name: Literal["float32", "tf32", "bfloat16"], device: str) -> Iterator[None]:
    """Compute in a precision, and the same each time. `float32` is meant: PyTorch's own default for convolutions on a
    GPU is `tf32`.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark
    # one by one: `cudnn.flags` turns cuDNN off and tf32 on where it is not told otherwise
    cudnn.allow_tf32 = matmul.allow_tf32 = name != "float32"
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        with torch.autocast(device_of(device).type, torch.bfloat16, enabled=name == "bfloat16"):
            yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark = before

"""Which library an array belongs to, and the way in and out of it."""

from __future__ import annotations

import sys
from typing import Any

import array_api_compat
import numpy as np

from gwfast.errors import InputError

_NUMPY = array_api_compat.array_namespace(np.zeros(1))

Array = Any
"""A numpy array or a torch tensor."""


def is_torch(x: object) -> bool:
    """Whether `x` is a torch tensor; never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def on_meta(x: Any) -> bool:
    """Whether `x` is a tensor without values."""
    return is_torch(x) and x.is_meta


def device_of(x: Array) -> Any:
    """Device of `x` as the array API takes it: that of a tensor, None for numpy."""
    return x.device if is_torch(x) else None


def is_numeric(x: Array) -> bool:
    """Whether an array holds numbers, or objects that may be some."""
    return is_torch(x) or x.dtype.kind in "biufO"


def on_host(x: object) -> bool:
    """Whether `x` is a numpy array, which compiled kernels read as it is."""
    return not is_torch(x)


def on_gpu(x: Any) -> bool:
    """Whether `x` is a tensor in the memory of a CUDA device."""
    return is_torch(x) and x.is_cuda


def is_array(x: object) -> bool:
    """Whether `x` is an array of a library that gwfast supports."""
    return isinstance(x, np.ndarray | np.generic) or is_torch(x)


def library_and_device(x: Array) -> tuple[str, str]:
    """Name of the library of `x` and of the device that holds it."""
    if is_torch(x):
        return "torch", str(x.device)
    return "numpy", "cpu"


def namespace(x: Array) -> Any:
    """Return the array-API namespace of `x`."""
    if type(x) is np.ndarray:  # the common case, at a tenth of the cost of looking it up
        return _NUMPY
    return array_api_compat.array_namespace(x)


def to_float64(x: Any) -> Array:
    """Return `x` as a float64 array of its own library (numpy for anything that is not an array)."""
    if is_torch(x):
        return x.double()
    return np.asarray(x, dtype=np.float64)


def to_numpy(x: Array) -> np.ndarray:
    """Return a float64 copy or view of `x` in host memory, cut from the gradient tape."""
    if is_torch(x):
        return x.detach().cpu().double().numpy() if x.is_floating_point() else x.detach().cpu().numpy()
    return np.asarray(x)


def from_numpy(x: np.ndarray, like: Array) -> Array:
    """Return `x` in the library and on the device of `like`, with its own dtype."""
    if is_torch(like):
        torch = sys.modules["torch"]
        return torch.from_numpy(np.ascontiguousarray(x)).to(like.device)
    return x


def needs_grad(*arrays: Any) -> bool:
    """Whether torch records gradients for any of `arrays`."""
    return any(is_torch(x) and x.requires_grad for x in arrays)


def asks_for_gradient(x: Any) -> bool:
    """Whether a result of torch on `x` would be recorded."""
    return needs_grad(x) and sys.modules["torch"].is_grad_enabled()


def detach(x: Array) -> Array:
    """Return `x` cut from the gradient tape."""
    return x.detach() if is_torch(x) else x


def cast_like(x: Array, dtype: Any) -> Array:
    """Return `x` in `dtype` (a torch dtype), or as it is where `dtype` is None."""
    return x if dtype is None else x.to(dtype)


def returned_dtype(x: Any) -> Any:
    """Precision in which a caller who passed `x` is answered: its own for torch, None for numpy."""
    return x.dtype if is_torch(x) and x.is_floating_point() else None


def refused_gradient(inputs: tuple[Any, ...], why: str) -> Array:
    """Return a zero on torch's tape whose gradient in `inputs` raises an `InputError` that says why there is none."""
    torch = sys.modules["torch"]

    class Refused(torch.autograd.Function):  # pyright: ignore
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            return torch.zeros((), dtype=torch.float64, device=tensors[0].device)

        @staticmethod
        def backward(ctx: Any, *slopes: Any) -> Any:
            raise InputError(why)

    return Refused.apply(*inputs)


def item(x: Any) -> float:
    """Return a 0-d array as a Python float, cut from the gradient tape."""
    return float(detach(x))


def like_scalar(x: Any, like: Array) -> Any:
    """Return a number as a 0-d float64 array of the library and device of `like`; arrays stay as they are."""
    if is_torch(like) and not is_torch(x):
        return sys.modules["torch"].tensor(float(x), dtype=sys.modules["torch"].float64, device=like.device)
    return x


def scalar(x: Any, dtype: Any = None) -> Any:
    """Return a number to hand to the user: float for numpy, 0-d tensor of `dtype` for torch."""
    if is_torch(x):
        return x if dtype is None else x.to(dtype)
    return float(x)


def scalar_down(x: Any, dtype: Any = None) -> Any:
    """Like `scalar`, rounded towards minus infinity, so that a lower bound stays one in a short dtype."""
    if not is_torch(x) or dtype is None or x.dtype == dtype:
        return scalar(x, dtype)
    torch = sys.modules["torch"]
    kind = torch.finfo(dtype)
    y = x.clamp(kind.min, kind.max).to(dtype)
    lowered = y - kind.eps * y.abs() - kind.eps * kind.tiny
    return torch.where(y.double() > x, lowered, y)


def scalar_up(x: Any, dtype: Any = None) -> Any:
    """Like `scalar`, rounded towards infinity, so that an upper bound stays one in a short dtype."""
    return -scalar_down(-x, dtype)

"""A training step as one CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP = 3  # calls before the capture, as PyTorch's notes on CUDA graphs have it


class CapturedStep:
    """Calls a training step: the first times as it is, then as one CUDA graph.

    A step is thousands of kernels, most of which run shorter than Python takes to launch them; a graph launches all at
    once. Results are the same but for the order of sums.

    Args:
        step: takes tensors, whose shapes stay the same, and returns scalars by name. Nothing in it may depend on a
            tensor's value in Python, and what else it works on (weights, the state of optimisers) must stay in place.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, step: Callable[..., dict[str, Tensor]]) -> None:
        self._step = step
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._names: list[str] = []
        self._values = torch.empty(0)

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        """One step; its scalars stay as they are when the next one runs."""
        self._calls += 1
        if self._calls <= _WARM_UP:
            return self._warm_up(inputs)
        if self._graph is None:
            self._capture(inputs)
        assert self._graph is not None
        torch._foreach_copy_(self._inputs, list(inputs))
        self._graph.replay()
        return dict(zip(self._names, self._values.clone(), strict=True))

    def _warm_up(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """A capture needs what the first calls set up, made on a stream other than the default one."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            terms = self._step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return terms

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        """Records the step without running it."""
        self._inputs = [tensor.clone() for tensor in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            terms = self._step(*self._inputs)
            self._names, self._values = list(terms), torch.stack([value.float() for value in terms.values()])

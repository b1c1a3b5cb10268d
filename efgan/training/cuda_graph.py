"""A training step as one CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP = 3  # calls before the capture, as PyTorch's notes on CUDA graphs have it


class CapturedStep:
    """Calls a training step on a GPU: the first times as it is, then as one CUDA graph.

    A step is thousands of kernels, most of which run shorter than Python takes to launch them; a graph launches all at
    once. Results are the same but for the order of sums.

    A capture records kernels and addresses. So a step's inputs have the same shapes and types every time, nothing in it
    depends on a tensor's value in Python or comes from the CPU, what else it works on (weights, the state of
    optimisers) stays in place, and no autograd graph from before the capture is alive.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self) -> None:
        self._calls = 0
        self._stream = torch.cuda.Stream()  # for the warm-up: a capture needs one other than the default
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._names: list[str] = []
        self._values = torch.empty(0)

    def __call__(self, step: Callable[..., dict[str, Tensor]], *inputs: Tensor) -> dict[str, Tensor]:
        """One step.

        Args:
            step: the same at every call; takes tensors and returns scalar tensors by name.
            inputs: its tensors, on the GPU.

        Returns:
            Its scalars, which stay as they are when the next step runs.
        """
        self._calls += 1
        if self._calls <= _WARM_UP:
            return self._warm_up(step, inputs)
        if self._graph is None:
            self._capture(step, inputs)
        assert self._graph is not None
        assert [x.shape for x in inputs] == [x.shape for x in self._inputs]
        torch._foreach_copy_(self._inputs, list(inputs))
        self._graph.replay()
        return dict(zip(self._names, self._values.clone(), strict=True))

    def _warm_up(self, step: Callable[..., dict[str, Tensor]], inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            terms = step(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return terms

    def _capture(self, step: Callable[..., dict[str, Tensor]], inputs: tuple[Tensor, ...]) -> None:
        """Records the step without running it."""
        self._inputs = [torch.empty_like(tensor) for tensor in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            terms = step(*self._inputs)
            self._names, self._values = list(terms), torch.stack([value.float() for value in terms.values()])

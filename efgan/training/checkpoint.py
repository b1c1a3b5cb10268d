"""Weights and training states in safetensors files: written atomically, loaded without running code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from efgan.errors import UserError
from efgan.provenance import write_atomic


def save_tensors(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON-able state as one safetensors file."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with write_atomic(path, "wb") as file:
        file.write(save(contiguous, {"state": json.dumps(dict(state))}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `save_tensors` wrote.

    Raises:
        UserError: the file is missing, truncated or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise UserError(f"there are no weights at {path}: train that run first") from None
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is damaged or not a file of efgan ({error}); delete it and run the same "
                        "command again") from error  # fmt: skip


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Loads a module's weights strictly.

    Raises:
        UserError: names or shapes do not fit the module, i.e. another version or config.
    """
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the model of this version and config: "
                        f"{str(error).splitlines()[1].strip()}") from error  # fmt: skip


def pack(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prefixes names with "name/"."""
    return {f"{name}/{key}": value for key, value in tensors.items()}


def unpack(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with "name/", without it."""
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def adam_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's state as flat tensors; empty before its first step."""
    return {
        f"{index}.{key}": value
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }


def restore_adam(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts `adam_tensors` back; the hyper-parameters stay the optimizer's own."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

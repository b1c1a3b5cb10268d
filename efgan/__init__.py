"""Cascade EF-GAN, reproduced: expression editing with local focuses on embedded or licensed faces.

`load_editor` opens a trained model, `load_faces` a dataset; both are imported when first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from efgan.data import load_faces
    from efgan.editing.editor import load_editor

__version__ = "0.1.0"
__all__ = ["__version__", "load_editor", "load_faces"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `efgan --help` and reading `__version__` need no torch.
    if name == "load_editor":
        from efgan.editing.editor import load_editor

        return load_editor
    if name == "load_faces":
        from efgan.data import load_faces

        return load_faces
    raise AttributeError(f"module 'efgan' has no attribute {name!r}")

"""The published numbers and the list of exhibits; nothing else in the package types a published number.

Source: Wu, Zhang, Lu, Chen, "Cascade EF-GAN: Progressive Facial Expression Editing with Local Focuses", CVPR 2020.
"""

from dataclasses import dataclass
from typing import Literal

from efgan.errors import UserError

CITATION = "Wu et al., Cascade EF-GAN, CVPR 2020"
DATASET_OF_ROLE = {"rafd": "RaFD", "cfeed": "CFEED"}

# Tables 1-3: {(the paper's dataset, method): {column: value}}; per cent, dB and FID as printed. Table 1 prints R once
# per dataset, and "Ours" for Cascade EF-GAN.
TABLE_1: dict[tuple[str, str], dict[str, float]] = {
    ("RaFD", "StarGAN"): {"R": 92.21, "G": 82.37, "R+G": 88.48},
    ("RaFD", "GANimation"): {"R": 92.21, "G": 84.36, "R+G": 92.31},
    ("RaFD", "Cascade EF-GAN"): {"R": 92.21, "G": 89.38, "R+G": 93.67},
    ("CFEED", "StarGAN"): {"R": 88.23, "G": 77.80, "R+G": 81.87},
    ("CFEED", "GANimation"): {"R": 88.23, "G": 79.46, "R+G": 84.42},
    ("CFEED", "Cascade EF-GAN"): {"R": 88.23, "G": 85.81, "R+G": 89.25},
}
TABLE_2: dict[tuple[str, str], dict[str, float]] = {
    ("RaFD", "StarGAN"): {"PSNR": 19.82, "FID": 62.51},
    ("RaFD", "GANimation"): {"PSNR": 22.06, "FID": 45.55},
    ("RaFD", "Cascade EF-GAN"): {"PSNR": 23.07, "FID": 42.36},
    ("CFEED", "StarGAN"): {"PSNR": 20.11, "FID": 42.39},
    ("CFEED", "GANimation"): {"PSNR": 20.43, "FID": 29.07},
    ("CFEED", "Cascade EF-GAN"): {"PSNR": 21.34, "FID": 27.15},
}
TABLE_3: dict[tuple[str, str], dict[str, float]] = {
    ("RaFD", "Baseline"): {"G": 84.61, "R+G": 92.37},
    ("RaFD", "Baseline + Local Focuses"): {"G": 86.59, "R+G": 92.50},
    ("RaFD", "Baseline + Cascade"): {"G": 87.94, "R+G": 92.77},
    ("RaFD", "Cascade EF-GAN"): {"G": 89.38, "R+G": 93.67},
}
# The order in which the paper names its methods, after the controls (ours).
EXPERIMENT_ORDER = ("controls", "stargan", "ganimation", "baseline", "local_focus", "cascade", "cascade_ef_gan",
                    "cascade_ef_gan_wild")  # fmt: skip

PUBLISHED = {"table_1": TABLE_1, "table_2": TABLE_2, "table_3": TABLE_3}


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One figure or table of the paper.

    Attributes:
        name: "figure_5": stem of its files.
        kind: "figure" or "table".
        title: what it shows, in a few words.
        notebook: stem of the notebook that makes it.
        runs: (role, experiment) of every run it reads; roles are "rafd" and "cfeed".
    """

    name: str
    kind: Literal["figure", "table"]
    title: str
    notebook: str
    runs: tuple[tuple[str, str], ...]

    @property
    def heading(self) -> str:
        """ "Figure 5. Comparison with the state of the art"."""
        return f"{self.name.replace('_', ' ').capitalize()}. {self.title}"


def _runs(role: str, *experiments: str) -> tuple[tuple[str, str], ...]:
    return tuple((role, experiment) for experiment in experiments)


_COMPARED = ("stargan", "ganimation", "cascade_ef_gan")
_ABLATED = ("baseline", "local_focus", "cascade", "cascade_ef_gan")

EXHIBITS: dict[str, Exhibit] = {
    name: Exhibit(name=name, kind="figure" if name.startswith("figure") else "table", title=title,
                  notebook=f"{name}_{suffix}", runs=runs)
    for name, suffix, title, runs in (
        ("figure_1", "teaser", "What local focuses and the cascade add",
         _runs("rafd", "stargan", "ganimation", "local_focus", "cascade_ef_gan")),
        ("figure_2", "architecture", "Cascade EF-GAN and the inside of one EF-GAN", _runs("rafd", "cascade_ef_gan")),
        ("figure_3", "attention", "Local against global attention", _runs("rafd", "cascade_ef_gan")),
        ("figure_4", "stages", "Intermediate and final edits of large-gap pairs", _runs("rafd", "cascade_ef_gan")),
        ("figure_5", "comparison", "Comparison with the state of the art",
         _runs("rafd", *_COMPARED) + _runs("cfeed", *_COMPARED)),
        ("figure_6", "ablation", "Ablation study", _runs("rafd", *_ABLATED)),
        ("figure_7", "continuous", "Continuous editing through the Interpolator", _runs("rafd", "cascade_ef_gan")),
        ("figure_8", "wild", "Editing in the wild", _runs("rafd", "controls", "cascade_ef_gan")),
        ("table_1", "accuracy", "Expression classification accuracy",
         _runs("rafd", "controls", *_COMPARED) + _runs("cfeed", "controls", *_COMPARED)),
        ("table_2", "psnr_fid", "PSNR and Fréchet distance",
         _runs("rafd", "controls", *_COMPARED) + _runs("cfeed", "controls", *_COMPARED)),
        ("table_3", "ablation", "Ablation study of classification accuracy", _runs("rafd", "controls", *_ABLATED)),
    )
}  # fmt: skip


def find_exhibit(name: str) -> Exhibit:
    """The exhibit of that name.

    Raises:
        UserError: there is none.
    """
    if name not in EXHIBITS:
        raise UserError(f"unknown exhibit {name!r}: choose one of {', '.join(EXHIBITS)}")
    return EXHIBITS[name]

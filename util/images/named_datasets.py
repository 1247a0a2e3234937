"""The data sets of the paper's tables: how each is recognised by its folders, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NamedDataset:
    """How a data set that the paper's tables need is recognised, and where it comes from.

    ``words``: a folder on its way must have all of these words in its name; ``sides``: or its two folders are
    called so.
    """

    name: str
    words: frozenset[str]
    home: str
    sides: tuple[tuple[str, str], ...] = ()


_HARVARD = "http://www.med.harvard.edu/AANLIB/"
TABLE_DATASETS = {
    known.name: known
    for known in (
        NamedDataset("MSRS", frozenset({"msrs"}), "https://github.com/Linfeng-Tang/MSRS"),
        NamedDataset("M3FD", frozenset({"m3fd"}), "https://github.com/JinyuanLiu-CV/TarDAL"),
        NamedDataset(
            "RoadScene",
            frozenset({"roadscene"}),
            "https://github.com/hanna-xu/RoadScene",
            (("cropinfrared", "crop_lr_visible"), ("cropinfrared", "crop_hr_visible")),
        ),
        NamedDataset(
            "TNO",
            frozenset({"tno"}),
            "https://figshare.com/articles/dataset/TNO_Image_Fusion_Dataset/1008029",
        ),
        NamedDataset("MRI-CT", frozenset({"mri", "ct"}), _HARVARD, (("ct", "mri"),)),
        NamedDataset("MRI-PET", frozenset({"mri", "pet"}), _HARVARD, (("pet", "mri"),)),
        NamedDataset("MRI-SPECT", frozenset({"mri", "spect"}), _HARVARD, (("spect", "mri"),)),
    )
}

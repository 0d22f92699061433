"""3D U-Net: outlines of cells in volumes."""

from __future__ import annotations

from modelzoo.entry import Entry, Size
from modelzoo.models.science.u_net import UNet, loss, recipe, samples

TINY = (16, 16, 16)

ENTRY = Entry(
    name="unet3d",
    title="U-Net 3D",
    about="Segments volumes: which voxels belong to a cell.",
    source="O. Cicek et al., 3D U-Net: learning dense volumetric segmentation from sparse annotation, 2016",
    sizes={
        "tiny": Size(lambda: UNet(3, 1, 4, 1), samples(1, TINY), 8, "one level, from 4 channels, 16 voxels an edge"),
        "full": Size(lambda: UNet(3, 3, 32, 3), samples(3, (128, 128, 112)), 1, "the paper's depth, 128 x 128 x 112"),
    },
    recipe=recipe(TINY, 160, 32, 10, 0.75),
    loss=loss,
    notes=("Convolutions keep the size where the paper's cut the border.",),
)

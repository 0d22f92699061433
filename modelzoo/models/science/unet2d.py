"""U-Net: outlines of cells in microscope images."""

from __future__ import annotations

from modelzoo.entry import Entry, Size
from modelzoo.models.science.u_net import UNet, loss, recipe, samples

TINY = (32, 32)

ENTRY = Entry(
    name="unet2d",
    title="U-Net 2D",
    about="Segments images: which pixels belong to a cell.",
    source="O. Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation, 2015",
    sizes={
        "tiny": Size(lambda: UNet(2, 1, 4, 2), samples(1, TINY), 16, "two levels, from 4 channels, 32 x 32 pixels"),
        "full": Size(lambda: UNet(2, 3, 64, 4), samples(3, (256, 256)), 4, "the paper's widths, 256 x 256 pixels"),
    },
    recipe=recipe(TINY, 320, 64, 5, 0.8),
    loss=loss,
    notes=("Convolutions keep the size where the paper's cut the border, and are normalised over the batch.",),
)

"""What happens to where pixels lie and to their colours, as one matrix for each image, made of numbers of shape (b,).

They are small, and NumPy makes them on the CPU, where the numbers are drawn; `pipeline.views.augment` applies them on
any device.
"""

import numpy as np
from jaxtyping import Bool, Float32
from numpy import ndarray

PerImage = Float32[ndarray, " b"]
Affine = Float32[ndarray, "b 2 3"]  # of output to input coordinates, both in [-1, 1]
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue; ITU-R BT.601
# Optical densities of red, green and blue (rows: haematoxylin, eosin, DAB); Ruifrok and Johnston 2001.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
CROSS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32) / np.sqrt(np.float32(3))  # with the grey axis


def crop_matrix(area: PerImage, log_ratio: PerImage, across: PerImage, down: PerImage) -> Affine:
    """Maps to a crop of share `area` of the image and aspect ratio exp(log_ratio), resized to the whole.

    `across` and `down` in [0, 1] place it. A side that would leave the image is cut to the image's own.
    """
    matrix = np.zeros((len(area), 2, 3), np.float32)
    for row, (sign, place) in enumerate(((1, across), (-1, down))):
        side = np.minimum(np.sqrt(area) * np.exp(sign * log_ratio / 2), 1)
        matrix[:, row, row], matrix[:, row, 2] = side, (2 * place - 1) * (1 - side)
    return matrix


def affine_matrix(
    radians: PerImage, shear_x: PerImage, shear_y: PerImage, shift_x: PerImage, shift_y: PerImage
) -> Affine:
    """Maps that rotate about the centre, then shear, then shift; shifts are in half-sides."""
    cos, sin = np.cos(radians), np.sin(radians)
    rows = [cos + shear_x * sin, shear_x * cos - sin, shift_x, sin + shear_y * cos, cos - shear_y * sin, shift_y]
    return np.stack(rows, 1).reshape(-1, 2, 3)


def flip_matrix(matrix: Affine, flipped: Bool[ndarray, " b"]) -> Affine:
    """The same maps with left and right exchanged in the output where `flipped`."""
    out = matrix.copy()
    out[flipped, :, 0] *= -1
    return out


def luma(channels: int) -> Float32[ndarray, " c"]:
    """The share of each channel in an image's grey: luma of RGB, the mean of any other number of channels."""
    return np.array(LUMA if channels == len(LUMA) else [1 / channels] * channels, np.float32)


def colour_matrix(
    channels: int, contrast: PerImage, saturation: PerImage, turns: PerImage | None = None
) -> tuple[Float32[ndarray, "b c c"], PerImage]:
    """Matrices of all channels of a pixel, and how much of the image's mean grey is added to each channel.

    They scale away from the mean grey of the image by `contrast` and from the pixel's own grey by `saturation`, and
    rotate RGB about the grey axis by `turns` of a circle; 1, 1 and 0 change nothing.
    Departures from torchvision: values are cut to [0, 1] once for all, and the hue is that of this rotation, which
    keeps a pixel's mean, and not of HSV.
    """
    matrix = saturation_matrix(channels, saturation)
    if turns is not None and channels == len(LUMA):
        matrix = _rotation(turns) @ matrix
    return matrix * _each(contrast), 1 - contrast


def stain_matrix(
    scale: Float32[ndarray, "b 3"], shift: Float32[ndarray, "b 3"]
) -> tuple[Float32[ndarray, "b 3 3"], Float32[ndarray, "b 3"]]:
    """A matrix on the optical densities of a pixel's channels, and what is added to them.

    They scale how much there is of each stain, which is the densities in the basis of STAINS, and shift it.
    """
    matrix = STAINS.T @ (scale[:, :, None] * np.linalg.inv(STAINS.T))
    return matrix.astype(np.float32), (shift @ STAINS).astype(np.float32)


def saturation_matrix(channels: int, factor: PerImage) -> Float32[ndarray, "b c c"]:
    """Scales the distance to a pixel's own grey: 0 loses all colour, 1 changes nothing; one channel stays."""
    return luma(channels) + _each(factor) * (np.eye(channels, dtype=np.float32) - luma(channels))


def _rotation(turns: PerImage) -> Float32[ndarray, "b 3 3"]:
    """About the grey axis: the mean of the channels, plus the rest turned in its plane (Rodrigues)."""
    angle, mean = _each(turns * np.float32(2 * np.pi)), np.full((3, 3), 1 / 3, np.float32)
    return mean + np.cos(angle) * (np.eye(3, dtype=np.float32) - mean) + np.sin(angle) * CROSS


def _each(values: PerImage) -> Float32[ndarray, "b 1 1"]:
    return values[:, None, None]

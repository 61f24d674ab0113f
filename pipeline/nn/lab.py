"""CIE L*a*b* of sRGB images: lightness, and two axes of colour, in which distances are about what people see."""

import torch
from jaxtyping import Float
from torch import Tensor

# Linear sRGB to CIE XYZ, and XYZ of white in daylight (D65): IEC 61966-2-1.
XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.089)
KNEE = 6 / 29  # below its cube the cube root becomes a line; CIE 15


def lab(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """L in [0, 100], a (green to red) and b (blue to yellow), both 0 for greys, of RGB in [0, 1]."""
    linear = torch.where(images <= 0.04045, images / 12.92, ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)
    to_xyz = images.new_tensor(XYZ) / images.new_tensor(WHITE)[:, None]
    # A sum, not a product of matrices, which autocast would round.
    xyz = (to_xyz[:, :, None, None] * linear[:, None]).sum(dim=2)
    f = torch.where(xyz > KNEE**3, xyz.clamp(min=KNEE**3) ** (1 / 3), xyz / (3 * KNEE**2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)

"""Small values for each method's block in these tests; a method without a line here fails the contract tests."""

from pipeline.nn.optim import AdamWParams, LarsParams, OptimParams, StaircaseParams
from pipeline.views.kinds import ContrastiveView, LocalCrops, StrongView, WeakView

CONTRASTIVE = ContrastiveView(
    crop_min=0.4, flip=0.5, jitter_prob=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grey_prob=0.2,
    blur_prob=0.5, crop_max=1.0, solarize_prob=0.0, equalize_prob=0.0, flip_down=0.0, turn_prob=0.0, stain=0.0,
)  # fmt: skip
WEAK = WeakView(flip=0.0, shift=0.125)
STRONG = StrongView(
    flip=0.0, op_prob=0.3, rotate=30, shear=0.3, shift=0.2, colour=0.9, solarize=True, posterize=True, cutout=0.5
)  # fmt: skip
OPTIM = OptimParams(
    name="sgd",
    learning_rate=0.05,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    accumulate=1,
    warmup=0.2,
    schedule="cosine",
    final_learning_rate=0.0,
    bias_scale=1.0,
    lars=LarsParams(trust=1e-3, clip=False),
    adamw=AdamWParams(beta2=0.999),
    weight_decay_end="same",
    clip_norm=0.0,
    staircase=StaircaseParams(at=[0.6, 0.8], factor=0.1),
)
LOCAL = LocalCrops(count=2, side=0.5, crop_min=0.1, crop_max=0.4)
NO_LOCAL = LOCAL.model_copy(update={"count": 0})
_MOCO = {
    "dim": 8, "hidden_dim": 16, "queue_size": 50, "temperature": 0.2, "momentum_start": 0.9, "momentum_end": 1.0,
    "bn_groups": 1, "symmetric": True,
}  # fmt: skip
PARAMS = {
    "moco": {**_MOCO, "bn_groups": 2},
    "mochi": {**_MOCO, "hardest": 6, "mixes": 30, "query_mixes": 10, "start": 0.0},
    "xmoco": {**_MOCO, "consistency": 0.5, "evenness": 0.2},
    "ifnd": {**_MOCO, "clusters": 3, "clusterings": 2, "iterations": 5, "share": 1.0},
    "interclr": {
        **_MOCO, "clusters": 3, "iterations": 5, "margin": 0.5, "inter_weight": 0.25, "candidates": 30, "negatives": 20,
    },
    "ascl": {**_MOCO, "target_temperature": 0.1, "neighbours": 2.0},
    "simclr": {"dim": 8, "hidden_dim": 16, "head_layers": 2, "temperature": 0.5},
    "byol": {"dim": 8, "hidden_dim": 16, "momentum_start": 0.9, "momentum_end": 1.0},
    "orl": {
        "dim": 8, "hidden_dim": 16, "start": 0.0, "neighbours": 3, "boxes": 6, "least_side": 0.4, "kept": 0.5,
        "crop": 0.5, "within": 0.5, "across": 0.25, "momentum_start": 0.9, "momentum_end": 1.0,
    },
    "simreg": {},
    "ncc": {
        "dim": 8, "hidden_dim": 16, "clusters": 5, "iterations": 5, "weight": 0.5, "temperature": 0.5, "noise": 0.01,
        "start": 0.0, "predictor_rate": 1.0, "momentum_start": 0.9, "momentum_end": 1.0,
    },
    "simsiam": {"dim": 8, "hidden_dim": 16, "projector_layers": 2, "predictor_dim": 4},
    "swav": {
        "dim": 8, "hidden_dim": 16, "prototypes": 12, "temperature": 0.1, "epsilon": 0.05, "iterations": 3,
        "queue_size": 24, "queue_start": 0.2, "frozen": 0.2,
    },
    "mira": {
        "dim": 8, "hidden_dim": 16, "prototypes": 12, "temperature": 0.1, "target_temperature": 0.225,
        "beta_start": 0.75, "beta_end": 0.7, "iterations": 30, "frozen": 0.2, "momentum_start": 0.9,
        "momentum_end": 1.0,
    },
    "dino": {
        "dim": 8, "hidden_dim": 16, "prototypes": 12, "temperature": 0.1, "target_temperature_start": 0.04,
        "target_temperature": 0.07, "target_warmup": 0.5, "centre_momentum": 0.9, "momentum_start": 0.9,
        "momentum_end": 1.0, "frozen": 0.2,
    },
    "barlow_twins": {"dim": 8, "hidden_dim": 16, "off_diagonal": 0.0051, "scale": 0.1},
    "vicreg": {"dim": 8, "hidden_dim": 16, "invariance": 25.0, "variance": 25.0, "covariance": 1.0},
    "npid": {"dim": 8, "head_norm": False, "temperature": 0.1, "negatives": 30, "bank_momentum": 0.5},
    "pirl": {
        "dim": 8, "head_norm": True, "temperature": 0.1, "negatives": 0, "bank_momentum": 0.5, "grid": 2, "patch": 0.75,
    },
    "msf": {"dim": 8, "hidden_dim": 16, "queue_size": 50, "neighbours": 3, "momentum_start": 0.9, "momentum_end": 1.0},
    "cmsf": {
        "dim": 8, "hidden_dim": 16, "queue_size": 50, "neighbours": 3, "constrained": 3, "momentum_start": 0.9,
        "momentum_end": 1.0,
    },
    "uml": {"way": 4, "tasks": 6, "mixes": 2},
    "rotation": {},
    "jigsaw": {"grid": 2, "patch": 0.75, "hidden_dim": 16, "orders": 24},
    "context": {"patch": 1.0, "jitter": 0.3, "hidden_dim": 16},
    "split_brain": {"colour_bins": 6, "lightness_bins": 5},
    "mae": {"dropped": 0.75, "decoder_dim": 16, "decoder_depth": 2, "decoder_heads": 2},
    "maskfeat": {"masked": 0.4, "block": 3, "cell": 2},
    "exemplar": {"dim": 8, "hidden_dim": 16, "temperature": 0.1},
}  # fmt: skip
MASKED = {"mae", "maskfeat"}  # methods for vision transformers
_FEED = {"per_class": 2, "classes": 10, "num_unlabelled": 8, "dim": 8, "hidden_dim": 16}
_PAWS = {
    **_FEED, "predictor_dim": 4, "temperature": 0.1, "smoothing": 0.1, "sharpen": 0.25, "me_max": 1.0, "local": LOCAL,
}  # fmt: skip
_GCD = {**_FEED, "num_classes": 10, "supervised": 0.35, "temperature": 0.2, "supervised_temperature": 0.07}
COLOUR = {"split_brain"}  # methods for colour images, and a backbone of their own
_PSEUDO = {"ratio": 2, "weight": 1.0, "align": "none"}
SEMISUP_PARAMS = {
    "fixmatch": {**_PSEUDO, "threshold": 0.12},
    "flexmatch": {**_PSEUDO, "threshold": 0.12},
    "freematch": {**_PSEUDO, "threshold_momentum": 0.9, "fairness": 0.1},
    "s4l": {"ratio": 2, "weight": 0.5, "turn_labelled": True},
    "softmatch": {**_PSEUDO, "align": "uniform", "confidence_momentum": 0.9, "n_sigma": 2.0},
    "mixmatch": {**_PSEUDO, "views": 2, "sharpen": 0.5, "alpha": 0.75, "weight": 3.0, "ramp": 0.5},
    "hiermatch": {"base": "mixmatch"},
    "paws": _PAWS,
    "nncsl": {**_PAWS, "stream": True, "supervised": 0.5, "distill": 0.7},
    "cmsf": {
        "ratio": 2, "dim": 8, "hidden_dim": 16, "queue_size": 50, "neighbours": 3, "confidence": 0.15,
        "supervised": 0.5, "finetune": 0.25, "target_momentum": 0.9,
    },
    "distill": {"backbone": "same", "options": {}, "ratio": 2, "alpha": 0.5, "temperature": 1.0},
    "dynamic": {"base": "elsewhere", "ratio": 2, "temperature": 0.1, "teacher_momentum": 0.9},
    "gcd": _GCD,
    "promptcal": {
        **_GCD, "affinity": 0.6, "warmup": 0.0, "affinity_temperature": 0.1, "neighbours": 3, "quantile": 0.5,
        "queue_size": 64, "momentum": 0.9,
    },
    "proxynca": {"dim": 8, "scale": 3.0, "proxy_rate": 2.0},
    "trex": {
        "dim": 8, "hidden_dim": 16, "hidden_layers": 1, "temperature": 0.1, "queue_size": 30, "local": LOCAL,
    },
    "supervised": {},
    "finetune": {"head_share": 0.5, "backbone_scale": 0.5, "head_layer": 0},
    "linear": {},
    "bit": {"batch_size": 8, "learning_rate": 0.003, "mixup": 0.5},
}  # fmt: skip

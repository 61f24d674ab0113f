"""What metrics are called on the page: plain words, beside which stands the metric's own name."""

import re
from collections.abc import Sequence

WORDS = {
    "top1": "right on the test images",
    "macro_f1": "right on the test images, each class counted alike",
    "ece": "how far its confidence is from the truth",
    "mean_confidence": "its confidence, on average",
    "n_train": "images to learn from",
    "n_test": "images held out for a test",
    "n_test_answered": "of these, with a known class",
    "n_labels": "labels",
    "n_coarse_labels": "labels of a coarser level only",
    "n_audit": "images that were labelled to measure",
    "n_audit_asked": "images that were asked for to measure",
    "audit_top1": "right on random images of those not picked or labelled before",
    "classes_covered": "classes with a label",
    "classes_total": "classes that are known",
    "classes_unreached": "classes without a label",
    "n_unlike": "images that look like no class with a label",
    "unlike_groups": "groups of such images",
    "n_new_classes": "new classes that were found",
    "matched": "right, where each found class is the one of the answers that fits best",
    "matched_old": "the same, of classes with a label",
    "matched_new": "the same, of classes without a label",
    "label_balance": "how evenly the labels lie over the classes; 1 is even",
    "probe_top1": "right, learnt from the labelled images alone",
    "propagate_top1": "right, with the labels spread to alike images",
    "knn_top1": "right by the most alike images, if all their classes were known",
    "estimated_top1": "right, by an estimate from the labels",
    "random_probe_top1": "the same of random picks, labelled images alone",
    "random_propagate_top1": "the same of random picks, labels spread to alike images",
    "random_probe_classes_covered": "classes with a label, of random picks",
}
ENDS = {
    "_low": "lower end of 95 %",
    "_high": "upper end of 95 %",
    "_at_least": "at least (95 %)",
    "_mean": "mean of the draws",
    "_std": "spread of the draws",
    "_if_wrong": "if those without a label were all wrong",
    "_if_right": "if those without a label were all right",
}
KINDS = {  # of a coarser level or another readout, whose name stands before
    "_top1": "right",
    "_macro_f1": "right, each class counted alike",
    "_ece": "how far confidence is from the truth",
    "_consistency": "in line with the finest class",
}
CURVES = {
    "loss": "what training makes small",
    "learning_rate": "how large its steps are",
    "feature_std": "how much images differ; near 0 is a collapse",
}


def plain(metric: str) -> str:
    """A metric in plain words; a name that is not known stays as it is."""
    if metric in WORDS:
        return WORDS[metric]
    for table in (ENDS, KINDS):
        for end, words in table.items():
            if metric.endswith(end):
                return f"{plain(metric.removesuffix(end))}: {words}"
    if more := re.fullmatch(r"forecast_(\d+)", metric):
        return f"with {more[1]} more labels"
    return metric


def plainly(metrics: Sequence[str]) -> str:
    """Several metrics in plain words, each once; ends of an interval go with what it is of."""
    return "; ".join(dict.fromkeys(plain(re.sub("|".join(f"{end}$" for end in ENDS), "", name)) for name in metrics))

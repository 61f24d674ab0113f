"""Two runs on the same images: the test images, or those of the audit."""

from pipeline.compare.inputs import Judged, Run
from pipeline.evaluate.paired import Paired


def paired(first: Run, second: Run) -> Paired | str:
    """The runs on the test images, else on those of the audit, if both have the same; or why they have not."""
    why = "no image has an answer in both; set the same label.audit in both, dvc repro, and label these images"
    for kind in ("test", "audit"):
        if kind in first.judged and kind in second.judged:
            one, other = first.judged[kind], second.judged[kind]
            reason = _apart(one, other, kind)
            if not reason:
                right = [
                    (one.prediction[key] == answer, other.prediction[key] == answer)
                    for key, answer in one.answer.items()
                ]
                return Paired.of(kind, right)
            why = reason if why.startswith("no image") else why
    return why


def _apart(one: Judged, other: Judged, kind: str) -> str:
    """Why two runs are not judged by the same images; "" where they are."""
    shared = one.answer.keys() & other.answer.keys()
    if shared != one.answer.keys() | other.answer.keys():
        return f"other {kind} images: {len(one.answer):,} and {len(other.answer):,}, {len(shared):,} of them in both"
    changed = sum(one.picture[key] != other.picture[key] for key in one.picture.keys() & other.picture.keys())
    if changed:
        return f"{changed:,} {kind} images of the same name are other pictures"
    differ = sum(one.answer[key] != other.answer[key] for key in shared)
    return f"{differ:,} {kind} images have other answers" if differ else ""

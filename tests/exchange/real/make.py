"""Has a tool read our exports and write the files beside this one: see README.md.

`python make.py TOOL EXPORTS OUT` in an environment of the tool; EXPORTS holds a folder for each of our formats.
"""

import os
import re
import shutil
import sys
from pathlib import Path

ANSWERS = {"key4": ["dog"], "key1": ["cat", "dog"]}
ONE = {"key4": "dog", "key1": "cat", "key5": "[unusable]"}
STUDIO, ANN, BOB = "http://127.0.0.1:18099", ("ann@example.org", "pass-Word1"), ("bob@example.org", "pass-Word2")


def key_of(name):
    return Path(name).name.split("-")[0]


def label_studio(exports, out):
    """Against a server on port 18099 with ann as its first user; EXPORTS/label-studio is its document root."""
    import requests

    def entered(path, person):
        session = requests.Session()
        token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', session.get(STUDIO + path).text)[1]
        form = {"csrfmiddlewaretoken": token, "email": person[0], "password": person[1]}
        session.headers["Referer"] = STUDIO + "/"
        session.post(STUDIO + path, data=form, allow_redirects=False)
        session.get(STUDIO + "/projects/")
        session.headers["X-CSRFToken"] = session.cookies["csrftoken"]
        return session

    ann = entered("/user/login/", ANN)
    bob = entered(f"/user/signup/?token={ann.get(STUDIO + '/api/invite').json()['token']}", BOB)
    folder = exports / "label-studio"
    project = {"title": "picks", "label_config": (folder / "interface.xml").read_text()}
    api = f"{STUDIO}/api/projects/{ann.post(STUDIO + '/api/projects/', json=project).json()['id']}"
    with (folder / "tasks.json").open("rb") as file:
        done = ann.post(f"{api}/import", files={"tasks.json": ("tasks.json", file, "application/json")}).json()
    print("imported:", done["task_count"], "tasks,", done["prediction_count"], "predictions")
    picture = next((folder / "pictures").glob("key4*"))
    with picture.open("rb") as file:
        ann.post(f"{api}/import", files={"key0.png": ("key0.png", file, "image/png")})
    tasks = ann.get(f"{STUDIO}/api/tasks?project={api.split('/')[-1]}&fields=all").json()["tasks"]
    by_key = {task["data"].get("key", "uploaded"): task for task in tasks}
    served = STUDIO + by_key["key4"]["data"]["image"]
    print("picture before a storage is added:", ann.get(served).status_code)
    storage = {"project": api.split("/")[-1], "path": str(folder / "pictures"), "use_blob_urls": True}
    ann.post(f"{STUDIO}/api/storages/localfiles", json=storage)
    print("after:", ann.get(served).status_code, "the same:", ann.get(served).content == picture.read_bytes())
    for who, key, name in (
        *((ann, "key4", "dog"), (bob, "key4", "dog"), (ann, "key1", "cat"), (bob, "key1", "dog"), (ann, "key3", None)),
        *((bob, "key3", "ant & bee"), (ann, "key5", "[unusable]"), (ann, "uploaded", "cat")),
    ):
        choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [name]}}
        answer = {"result": [choice] if name else [], "was_cancelled": name is None, "lead_time": 2.5}
        who.post(f"{STUDIO}/api/tasks/{by_key[key]['id']}/annotations/", json=answer)
    for kind, name in (("JSON", "label_studio.json"), ("CSV", "label_studio.csv")):
        sent = ann.get(f"{api}/export", params={"exportType": kind, "download_all_tasks": "true"})
        (out / name).write_bytes(sent.content)


def datumaro(exports, out):
    from datumaro.components.annotation import AnnotationType, Label
    from datumaro.components.dataset import Dataset

    for form, folder in (("cvat", "cvat"), ("coco", "coco"), ("imagenet", "folders/guesses")):
        read = Dataset.import_from(str(exports / folder), form)
        names = [category.name for category in read.categories()[AnnotationType.label].items]
        for item in read:
            print(form, item.id, item.media.size, [(names[one.label], one.attributes) for one in item.annotations])
    data = Dataset.import_from(str(exports / "cvat"), "cvat")
    names = data.categories()[AnnotationType.label]
    for item in list(data):
        if key_of(item.id) != "key3":  # whose guess stays as it is
            item.annotations = [Label(names.find(name)[0]) for name in ANSWERS.get(key_of(item.id), [])]
            data.put(item)
    for form, name, file in (
        ("cvat", "annotations.xml", "cvat_datumaro.xml"),
        ("coco", "annotations/labels_annotations.json", "coco_datumaro.json"),
    ):
        data.export(str(out / "made"), form, save_media=True)
        shutil.copy(out / "made" / name, out / file)
        shutil.rmtree(out / "made")


def fiftyone(exports, out):
    """By FiftyOne's importers and exporters alone: a dataset of its own needs MongoDB."""
    import fiftyone as fo
    import fiftyone.utils.cvat as cvat
    import fiftyone.utils.data as data

    read = data.FiftyOneImageClassificationDatasetImporter(dataset_dir=str(exports / "fiftyone"))
    with read:
        guesses = {path: label for path, _, label in read}
    for path, label in guesses.items():
        print("fiftyone", Path(path).name, label and (label.label, label.confidence))
    folder = exports / "cvat"
    with cvat.CVATImageDatasetImporter(
        data_path=str(folder / "images"), labels_path=str(folder / "annotations.xml")
    ) as read:
        for path, _, label in read:
            print(
                "cvat",
                Path(path).name,
                [one.label for one in label["classifications"].classifications] if label else [],
            )
    with data.ImageClassificationDirectoryTreeImporter(dataset_dir=str(exports / "folders/guesses")) as read:
        for path, _, label in read:
            print("folders", Path(path).name, label.label)

    def one(path):
        return fo.Classification(label=ONE[key_of(path)]) if key_of(path) in ONE else None

    def several(path):
        names = ANSWERS.get(key_of(path))
        return names and fo.Classifications(classifications=[fo.Classification(label=name) for name in names])

    images = data.FiftyOneImageClassificationDatasetExporter
    classes = ["ant & bee", "cat", "dog", "[unusable]"]
    for name, exporter, label, options in (
        ("fiftyone_one.json", images, one, {}),
        ("fiftyone_numbers.json", images, one, {"classes": classes}),
        ("fiftyone_several.json", images, several, {"include_confidence": True, "include_attributes": True}),
        ("fiftyone_guess.json", images, guesses.get, {"include_confidence": True}),
        ("cvat_fiftyone.xml", cvat.CVATImageDatasetExporter, one, {}),
    ):
        with exporter(export_dir=str(out / "made"), export_media=True, **options) as writer:
            for path in guesses:
                writer.export_sample(path, label(path), metadata=fo.ImageMetadata.build_for(path))
        shutil.copy(next((out / "made").glob("labels.*")), out / name)
        shutil.rmtree(out / "made")


def lightly_studio(exports, out):
    import lightly_studio as studio
    from lightly_studio.core.annotation import CreateClassification
    from lightly_studio.export.classification_csv import write_classifications_csv

    os.chdir(out)  # its database lies there
    data = studio.ImageDataset.create(name="picks")
    data.add_images_from_path(path=str(exports / "csv/pictures"), embed=False)
    given = {"key4": ("dog", None), "key1": ("cat", None), "key3": ("ant & bee", 0.7)}
    for sample in data:
        if key_of(sample.file_name) in given:
            name, confidence = given[key_of(sample.file_name)]
            label = CreateClassification(class_name=name, confidence=confidence)
            sample.add_annotation(label, annotation_source="ann" if confidence is None else "model")
    write_classifications_csv(data, out / "lightly_studio.csv", None)


if __name__ == "__main__":
    {tool.__name__: tool for tool in (label_studio, datumaro, fiftyone, lightly_studio)}[sys.argv[1]](
        *(Path(part).resolve() for part in sys.argv[2:4])
    )

import sys

from pipeline.base.torchvision_import import torchvision


def test_torchvision_is_whole_enough():
    module = torchvision()
    assert module is torchvision() is sys.modules["torchvision"]
    assert module.datasets.CIFAR10.base_folder == "cifar-10-batches-py"
    assert sum(weight.numel() for weight in module.models.resnet18(num_classes=10).parameters()) == 11181642

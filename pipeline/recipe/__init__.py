"""What fits a folder of images on this machine: chosen by a rule, and how long it will take."""

"""Learn from few labels: the library behind the stages.

Layers, each importing only from those below it: `report`; `evaluate`; `sources`; `selfsup`, `select` and `semisup`
(never each other); `fit`; `data` and `nn`; `artifacts`; `files`; `params` and `rng`; `errors`.
"""

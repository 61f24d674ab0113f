"""Learn from few labels: the library behind the stages.

Layers, each importing only from those below it: `report`; `evaluate`; the stages `ingest`, `pretrain`, `embed`,
`select`, `label` and `train` (never each other); `fit`; `views`; `nn`; `shards`; `artifacts`; `parallel`; `base`.
"""

"""The checker of shapes and types in signatures; as in typing itself, an int will do for a float."""

from beartype import BeartypeConf, beartype

typecheck = beartype(conf=BeartypeConf(is_pep484_tower=True))

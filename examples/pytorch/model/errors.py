"""What a person can mend: a folder that is no model, weights that are cut, limits that do not fit."""


class ModelError(Exception):
    """Names the thing, what is wrong with it, and what is wanted."""

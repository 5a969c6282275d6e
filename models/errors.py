"""The errors of the models package.

Exception
└── ModelError
    ├── TrainingDivergedError  a loss became NaN or infinite; says which replicate, epoch and λ
    ├── UnsupportedShapeError  no encoder of the asked kind takes inputs of this shape
    └── EncoderModuleError     a user's own encoder cannot be found, built or used
"""


class ModelError(Exception):
    """Base of every error that this package raises on purpose."""


class TrainingDivergedError(ModelError):
    """A loss became NaN or infinite."""


class UnsupportedShapeError(ModelError):
    """No encoder of the asked kind takes inputs of this shape."""


class EncoderModuleError(ModelError):
    """A user's own encoder cannot be found, built or used."""

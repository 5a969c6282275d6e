"""The errors of the models package.

Exception
└── ModelError
    ├── TrainingDivergedError  a loss became NaN or infinite; says which replicate, epoch and λ
    ├── UnsupportedShapeError  no encoder of the asked kind takes inputs of this shape
    ├── DeviceError            there is no GPU where there should be one, or it was lost
    ├── NoMemoryError          one replicate, a row at a time, needs more memory than there is
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


class DeviceError(ModelError):
    """There is no GPU where there should be one, or it was lost."""


class NoMemoryError(ModelError):
    """One replicate, with a row of its batch at a time, needs more memory than there is."""

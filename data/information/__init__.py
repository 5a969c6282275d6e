"""What two modalities tell about a label, together and each alone."""

from data.information.atoms import Information

__all__ = ["Information"]

"""What two modalities tell about a label, together and each alone."""

from data.information.atoms import Information
from data.information.discrete import decompose
from data.information.gate import Gate
from data.information.gaussian import decompose_gaussian
from data.information.profile import Estimate, Profile, Regime, information_profile

__all__ = [
    "Estimate",
    "Gate",
    "Information",
    "Profile",
    "Regime",
    "decompose",
    "decompose_gaussian",
    "information_profile",
]

"""The four parts of the information that two modalities carry about a label."""

from dataclasses import dataclass

NAMES = ("R", "U_a", "U_b", "S")


@dataclass(frozen=True, kw_only=True)
class Information:
    """A partial information decomposition, in bits.

    I(X_A, X_B; Y) = R + U_a + U_b + S with I(X_A; Y) = R + U_a and I(X_B; Y) = R + U_b, by the
    definition of Bertschinger, Rauh, Olbrich, Jost and Ay (BROJA), Entropy 16 (2014) 2161.

    Attributes:
        R: Redundant: either modality tells it.
        U_a: Unique: only modality A tells it.
        U_b: Unique: only modality B tells it.
        S: Synergistic: only both together tell it.
    """

    R: float
    U_a: float
    U_b: float
    S: float

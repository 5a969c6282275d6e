"""From scores to λ*: the curve, its noise, the choice, the verdict. Pure: no input, no output."""

"""The model of past curves: families and a trend, what tells them apart, what is expected."""

"""Checks a modality of numbers."""

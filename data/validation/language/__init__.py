"""Modalities of language: text, and ids of tokens."""

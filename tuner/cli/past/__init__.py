"""The commands that ask what past studies say."""

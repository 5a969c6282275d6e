"""The answer in words and pictures. Pure: a result in, HTML, Markdown and PNG out."""

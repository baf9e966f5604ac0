"""What happened: data, HTML, Markdown, console."""

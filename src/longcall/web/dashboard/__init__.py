"""The dashboard: pages for people, whole without a script. Imported on first use, since Jinja takes a moment."""

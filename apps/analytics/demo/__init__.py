"""The demo organisation: people, projects and sixty days of plausible usage, written by the real pipeline."""

"""The demo organisation: people, projects and thirty days of plausible usage, written by the real pipeline."""

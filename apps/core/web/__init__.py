"""What the pages of every app share: how figures are written, small graphics, icons."""

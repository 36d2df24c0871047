"""Imports: usage events out of files, whatever their size; counted once however often a file comes."""

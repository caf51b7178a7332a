"""What does a report say in words? Numbers in, sentences out; plain text without markup.

A module for each part of the report. Templates reach them as `text.<module>.<function>`.
"""

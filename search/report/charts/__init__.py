"""What does a report draw? Charts as SVG and PNG, images as PNG.

Every chart comes in two widths, for page and phone. Matplotlib's object interface only, so that nothing global is
touched and reports can be written from any thread.
"""

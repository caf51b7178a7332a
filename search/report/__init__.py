"""What does a finished study claim, and how is it shown? Reports of one study, and comparisons of two."""

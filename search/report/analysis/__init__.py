"""What do a finished study's records say in numbers? `trials` asks it of the search, `evidence` of the model."""

"""What is searched? The space file, what may stand in it, and how a trial's parameters become a recipe.

`schema.space_of` reads a file into a `space.SearchSpace`; its `suggest` asks a trial for the parameters of a
`fmnist.recipe.Recipe`. `parameters` has the forms that a parameter takes, `refusals` the words for a file that is
wrong, `default` the space that is written for images of one's own. Not covered: how trials are chosen (`search.study`).
"""

"""Keep what is delivered small and fast: files and times of networks, predicted before a step is trained."""

"""How do two finished studies compare? From their records to compare-A-B.html and compare-A-B.json."""

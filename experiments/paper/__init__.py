"""The paper's tables as data: cells, the commands of their scripts, what others report."""

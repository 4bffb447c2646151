"""What every page and every picture shares: colours, canvas, HTML."""

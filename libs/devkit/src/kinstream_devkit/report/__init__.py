"""What the demo found, for people: in the terminal and as a page."""

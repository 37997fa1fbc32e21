"""Pages and pictures: HTML, SVG, sound players, the reports of a separation and of a dictionary."""

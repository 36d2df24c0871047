"""What usage costs: names of models, price classes, the book of prices and its writes."""

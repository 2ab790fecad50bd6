"""Other programs that follow a run, such as a CSV file or an experiment tracker."""

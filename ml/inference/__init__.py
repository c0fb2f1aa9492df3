"""A trained model at work on sound that is not part of a study."""

"""The drums study: hits of a drum kit, told apart; songs become beatmaps."""

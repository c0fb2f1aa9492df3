"""The denoise study: which of 864 training setups takes noise out of sound best?"""

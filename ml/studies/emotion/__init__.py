"""The emotion study: which of twelve training setups recognises emotions best, in pictures and in clips of voices?"""

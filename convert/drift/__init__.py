"""How far is an artifact from float, and is that too far?"""

"""Write a bundle, remember how it was made, reuse it, export it to Android."""

"""The Android app without a phone: its logic on the JVM, its package built and verified."""

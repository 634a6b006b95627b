"""What the app's configuration instantiates."""

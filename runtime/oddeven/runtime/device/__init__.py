"""What runs on a device: camera, watched folder, journal, GPIO and measurements."""

"""Many devices, over MQTT: what each tells a broker, and what is out there."""

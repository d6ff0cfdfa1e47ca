"""What makes a device appear in Home Assistant by itself.

Source: Home Assistant's documentation of the MQTT integration, "Device discovery payload".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREFIX = "homeassistant"  # as Home Assistant is set up unless somebody changed it
# Of each entity: its platform, the topic it reads, the field in it, and more of its configuration.
ENTITIES: Mapping[str, tuple[str, str, str, Mapping[str, Any]]] = {
    "label": ("sensor", "state", "{{ value_json.label }}", {}),
    "probability": ("sensor", "state", "{{ value_json.probability }}", {"suggested_display_precision": 3}),
    "familiarity": ("sensor", "state", "{{ value_json.familiarity | default('None') }}",
                    {"suggested_display_precision": 3}),
    "unknown": ("binary_sensor", "state",
                "{{ 'ON' if value_json.label in ('uncertain', 'unknown', 'unreadable') else 'OFF' }}", {}),
    "model": ("sensor", "about", "{{ value_json.model_sha256[:12] }}", {"entity_category": "diagnostic"}),
    "engine": ("sensor", "about", "{{ value_json.engine }}", {"entity_category": "diagnostic"}),
    "latency": ("sensor", "about", "{{ value_json.latency_ms }}",
                {"entity_category": "diagnostic", "unit_of_measurement": "ms", "device_class": "duration"}),
    "temperature": ("sensor", "about", "{{ value_json.temperature_c }}",
                    {"entity_category": "diagnostic", "unit_of_measurement": "°C", "device_class": "temperature"}),
    "selftest": ("binary_sensor", "about", "{{ 'OFF' if value_json.selftest == 'passed' else 'ON' }}",
                 {"entity_category": "diagnostic", "device_class": "problem"}),
    "drift": ("binary_sensor", "about", "{{ 'ON' if value_json.drift else 'OFF' }}",
              {"entity_category": "diagnostic", "device_class": "problem"}),
}  # fmt: skip
ALWAYS = ("label", "probability", "unknown")


def discovery_topic(device: str) -> str:
    """Where Home Assistant looks for the description of a device."""
    return f"{PREFIX}/device/oddeven-{device}/config"


def discovery(topic: str, device: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a device.

    Args:
        topic: what the device's own topics begin with.
        about: what the device says about itself; an entity is left out where it names a field that is not there, or
            false.
    """
    known = [field for field, value in about.items() if value not in (None, False)]
    components = {
        name: {
            "platform": platform, "name": name, "unique_id": f"oddeven-{device}-{name}",
            "state_topic": f"{topic}/{read}", "value_template": template, **more,
        }
        for name, (platform, read, template, more) in ENTITIES.items()
        if name in ALWAYS or any(f".{field}" in template for field in known)
    }  # fmt: skip
    return {
        "device": {
            "identifiers": [f"oddeven-{device}"], "name": f"oddeven {about['host']}", "manufacturer": "oddeven",
            "model": about["model"], "sw_version": about["version"],
        },
        "origin": {"name": "oddeven", "sw_version": about["version"]},
        "availability_topic": f"{topic}/availability",
        "components": components,
        "qos": 1,
    }  # fmt: skip

"""The person's desktop session apart from typing: its message bus, notifications, screen lock."""

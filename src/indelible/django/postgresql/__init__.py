"""The name of the backend for PostgreSQL: `"ENGINE": "indelible.django.postgresql"`."""

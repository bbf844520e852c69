"""The name of the backend for MariaDB and MySQL: `"ENGINE": "indelible.django.mysql"`."""

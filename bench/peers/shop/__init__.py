"""The application that is measured: one table."""

from django.apps import AppConfig


class Shop(AppConfig):
    name = "bench.peers.shop"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"

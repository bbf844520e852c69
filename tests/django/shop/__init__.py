"""The application: customers, their invoices, and what hangs on them."""

from django.apps import AppConfig


class Shop(AppConfig):
    name = "tests.django.shop"
    label = "shop"

"""One model, tracked by whatever the settings name."""

from django.conf import settings
from django.db import models


class Item(models.Model):
    name = models.TextField()
    town = models.TextField()
    email = models.TextField()
    phone = models.TextField()
    street = models.TextField()
    grade = models.IntegerField()
    note = models.TextField()
    price = models.FloatField()
    stock = models.IntegerField()
    code = models.TextField()
    remark = models.TextField()

    class Meta:
        db_table = "item"


settings.TRACK(Item)

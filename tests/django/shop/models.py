"""Columns of each kind that Django converts on their way: booleans, dates, decimals, UUIDs."""

import uuid

from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=99, unique=True)
    town = models.TextField(default="Riga")
    is_active = models.BooleanField(default=True)


class Label(models.Model):
    text = models.TextField()


class Invoice(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    total = models.DecimalField(max_digits=9, decimal_places=2)
    issued = models.DateField()
    sent = models.DateTimeField(null=True)
    labels = models.ManyToManyField(Label)


class Line(models.Model):
    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE)
    text = models.TextField()
    pieces = models.IntegerField()


class Document(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    body = models.BinaryField()

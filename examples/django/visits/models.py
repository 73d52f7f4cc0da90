from django.db import models


class Visit(models.Model):
    url = models.URLField(unique=True)
    process = models.IntegerField()
    at = models.DateTimeField(auto_now_add=True)

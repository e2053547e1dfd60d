"""Filters of the admin's templates."""

from django import template
from django.contrib.humanize.templatetags.humanize import intcomma

register = template.Library()
#: `12,345`; a project need not install the app `humanize` for it.
register.filter("intcomma", intcomma)

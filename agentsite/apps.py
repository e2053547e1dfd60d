"""The site as an app, for its one table; and its admin, whose logins are throttled."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class AgentsiteConfig(AppConfig):
    """The app of the site's own table."""

    name = "agentsite"
    verbose_name = "Site"


class AdminConfig(admin.AdminConfig):
    """Django's admin with the site's login."""

    default = False  # it stands for the admin, and not for this package
    default_site = "agentsite.login.AdminSite"

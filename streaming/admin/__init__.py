"""The admin: conversations, runs and their events, to read, search and delete.

They are history, so the admin never edits them."""

from django.contrib import admin

from streaming import conf
from streaming.admin.conversations import ConversationAdmin
from streaming.admin.organizations import OrganizationAdmin
from streaming.admin.runs import RunAdmin
from streaming.models import Conversation, Organization, Run

admin.site.site_header = f"{conf.get().agent_name} administration"
admin.site.site_title = conf.get().agent_name
admin.site.index_title = "Organizations, conversations and runs"

admin.site.register(Organization, OrganizationAdmin)
admin.site.register(Conversation, ConversationAdmin)
admin.site.register(Run, RunAdmin)

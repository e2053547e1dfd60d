"""The admin: conversations, runs and their events, to read, search and delete; API
keys, to create and revoke; workers, to drain; the audit log, to read.

They are history, so the admin never edits them. It edits the limits of callers."""

from django.contrib import admin

from streaming.admin.audit import AuditAdmin
from streaming.admin.conversations import ConversationAdmin
from streaming.admin.keys import ApiKeyAdmin
from streaming.admin.limits import AccountAdmin, LimitAdmin
from streaming.admin.organizations import OrganizationAdmin
from streaming.admin.runs import RunAdmin
from streaming.admin.workers import WorkerAdmin
from streaming.models import (
    Account,
    ApiKey,
    AuditRecord,
    Conversation,
    Limit,
    Organization,
    Run,
    Worker,
)

admin.site.register(Organization, OrganizationAdmin)
admin.site.register(Conversation, ConversationAdmin)
admin.site.register(Run, RunAdmin)
admin.site.register(ApiKey, ApiKeyAdmin)
admin.site.register(Limit, LimitAdmin)
admin.site.register(Account, AccountAdmin)
admin.site.register(Worker, WorkerAdmin)
admin.site.register(AuditRecord, AuditAdmin)

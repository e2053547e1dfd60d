"""Authentication: requests become principals.

The setting `AUTHENTICATION` lists authenticators by their dotted paths; those of this
package are `streaming.auth.session`, `streaming.auth.api_key`,
`streaming.auth.anonymous`, `streaming.auth.open` and
`streaming.auth.header('X-Org-Id')`. `chain` calls them for each request.
"""

from streaming.auth.anonymous import anonymous
from streaming.auth.gateway import Header as header
from streaming.auth.keys.authenticator import api_key
from streaming.auth.opened import organization_from_request as open
from streaming.auth.organizations import principal_in, principal_of
from streaming.auth.sessions import session

__all__ = [
    "anonymous",
    "api_key",
    "header",
    "open",
    "principal_in",
    "principal_of",
    "session",
]
